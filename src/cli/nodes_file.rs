//! Owns compute_nodes.txt: one `host,port` per line.

use crate::rpc::Address;
use anyhow::{Context, bail};
use std::path::Path;

/// Reads the nodes named in a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Address>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        let path = path.display();
        format!(
            "cannot read the compute nodes from {path}; name each as host,port on a line, or give --nodes FILE"
        )
    })?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, name: &str) -> anyhow::Result<Vec<Address>> {
    let mut nodes: Vec<Address> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let node = parse_line(line).with_context(|| format!("{name}:{}", place + 1))?;
        if let Some(first) = nodes.iter().position(|known| *known == node) {
            bail!("{name}:{}: {node} is there already, as node {}", place + 1, first + 1);
        }
        nodes.push(node);
    }
    if nodes.is_empty() {
        bail!("{name} names no compute nodes; write host,port on a line for each");
    }
    Ok(nodes)
}

fn parse_line(line: &str) -> anyhow::Result<Address> {
    let Some((host, port)) = line.rsplit_once(',') else {
        bail!("'{line}' is not host,port");
    };
    let (host, port) = (host.trim(), port.trim());
    if host.is_empty() || host.contains([',', ' ', '\t']) {
        bail!("'{host}' is no host name or address");
    }
    match port.parse() {
        Ok(0) | Err(_) => bail!("'{port}' is no port; it must be from 1 to 65535"),
        Ok(port) => Ok(Address::new(host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_comments_and_blank_lines() {
        let text = "# the lab\nlocalhost,9091\n\n  10.0.0.7 , 9092  # the old one\r\n::1,9093";
        let nodes: Vec<String> = parse(text, "n").unwrap().iter().map(Address::to_string).collect();
        assert_eq!(nodes, ["localhost:9091", "10.0.0.7:9092", "[::1]:9093"]);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("a,1\nb", "n:2: 'b' is not host,port"),
            ("a,0", "n:1: '0' is no port"),
            ("a,65536", "n:1: '65536' is no port"),
            ("a,1\n\na,1", "n:3: a:1 is there already, as node 1"),
            (",1", "n:1: '' is no host"),
            ("a b,1", "n:1: 'a b' is no host"),
            ("# nobody\n", "n names no compute nodes"),
        ] {
            let message = format!("{:#}", parse(text, "n").unwrap_err());
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
    }
}
