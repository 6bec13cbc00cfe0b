//! Owns the option that says which coordinators a command talks to.

use crate::rpc::Address;
use clap::Args;

/// Where a command finds the cluster: the one that leads and its standbys, in any order.
#[derive(Args, Clone, Debug)]
pub(super) struct Coordinators {
    /// The coordinator, or several (the one that leads and its standbys): they are tried in this order
    #[arg(
        long,
        env = "ROUNDTABLE_COORDINATOR",
        default_value = "localhost:9095",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    coordinator: Vec<Address>,
}

impl Coordinators {
    /// The addresses as given, without repetitions; never none.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = Vec::new();
        for address in &self.coordinator {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn read(args: &[&str]) -> Result<Vec<String>, clap::Error> {
        // Without the environment of whoever runs the tests.
        let command = Coordinators::augment_args(clap::Command::new("t")).mut_arg("coordinator", |a| a.env(None));
        let matches = command.try_get_matches_from([&["t"], args].concat())?;
        let coordinators = Coordinators::from_arg_matches(&matches)?;
        Ok(coordinators.addresses().iter().map(Address::to_string).collect())
    }

    #[test]
    fn one_several_or_the_usual_one() {
        assert_eq!(read(&[]).unwrap(), ["localhost:9095"]);
        assert_eq!(read(&["--coordinator", "a:1,b:2,a:1"]).unwrap(), ["a:1", "b:2"]);
        assert_eq!(read(&["--coordinator", "[::1]:7"]).unwrap(), ["[::1]:7"]);
        let error = read(&["--coordinator", "a"]).unwrap_err().to_string();
        assert!(error.contains("it has no port"), "{error}");
        assert!(read(&["--coordinator", ""]).is_err());
    }
}
