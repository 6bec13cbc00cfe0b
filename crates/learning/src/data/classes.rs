//! Owns the job's classes: which labels there are, and in what order they are numbered.

use std::collections::BTreeSet;

use super::{DataError, Table};

/// A job has at most this many classes.
pub const MAX_CLASSES: usize = 65_536;

/// The labels of a job in class order; from 2 to 65,536 of them.
///
/// If all labels are integers they are numbered by value, and `7`, `07` and `+7` are one label; otherwise by
/// their UTF-8 bytes. The order does not depend on the order of rows or files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    labels: Vec<String>,
    order: Order,
}

/// How a label is looked up among `labels`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// Class i is the integer i.
    Range,
    /// The labels' values, which ascend, and their classes.
    Integers(Vec<(i64, u32)>),
    /// The classes in the order in which their labels ascend as texts.
    Text(Vec<u32>),
}

impl Classes {
    /// The labels that occur in these tables. Integers that do not occur in between get no class.
    ///
    /// # Errors
    /// There are fewer than 2 different labels, or more than 65,536.
    pub fn of<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Result<Self, DataError> {
        Self::from_labels(tables.into_iter().flat_map(Table::labels).map(|(label, _)| label))
    }

    /// These labels, in any order, with or without repetitions.
    ///
    /// # Errors
    /// There are fewer than 2 different labels, or more than 65,536.
    pub fn from_labels<'t>(labels: impl IntoIterator<Item = &'t str>) -> Result<Self, DataError> {
        let texts: BTreeSet<&str> = labels.into_iter().collect();
        let integers: Option<BTreeSet<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
        let classes = match integers {
            Some(integers) => Self {
                labels: integers.iter().map(i64::to_string).collect(),
                order: Order::Integers(integers.into_iter().zip(0..).collect()),
            },
            None => Self {
                order: Order::Text((0..texts.len() as u32).collect()),
                labels: texts.into_iter().map(str::to_owned).collect(),
            },
        };
        match classes.len() {
            2..=MAX_CLASSES => Ok(classes),
            found => Err(DataError::Classes { found }),
        }
    }

    /// These labels as a model names them: the first is class 0. What [`labels`](Self::labels) gives makes the
    /// same classes again, and labels may stand in any other order too.
    ///
    /// # Errors
    /// There are fewer than 2 labels, or more than 65,536, or one occurs twice.
    pub fn in_order(labels: &[String]) -> Result<Self, DataError> {
        if !(2..=MAX_CLASSES).contains(&labels.len()) {
            return Err(DataError::Classes { found: labels.len() });
        }
        let twice = |class: u32| DataError::RepeatedClass { label: labels[class as usize].clone() };
        let integers: Option<Vec<(i64, u32)>> =
            labels.iter().zip(0..).map(|(label, class)| Some((label.parse().ok()?, class))).collect();
        let order = match integers {
            Some(mut integers) => {
                integers.sort_unstable();
                if let Some(pair) = integers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    return Err(twice(pair[1].1));
                }
                Order::Integers(integers)
            }
            None => {
                let text = |class: u32| &labels[class as usize];
                let mut ascending: Vec<u32> = (0..labels.len() as u32).collect();
                ascending.sort_by_key(|&class| text(class));
                if let Some(pair) = ascending.windows(2).find(|pair| text(pair[0]) == text(pair[1])) {
                    return Err(twice(pair[1]));
                }
                Order::Text(ascending)
            }
        };
        Ok(Self { labels: labels.to_vec(), order })
    }

    /// The integers from 0 to `k - 1`, whether or not all of them occur.
    ///
    /// # Errors
    /// `k` is below 2 or above 65,536.
    pub fn integers(k: usize) -> Result<Self, DataError> {
        match k {
            2..=MAX_CLASSES => Ok(Self { labels: (0..k).map(|i| i.to_string()).collect(), order: Order::Range }),
            found => Err(DataError::Classes { found }),
        }
    }

    /// The label's class, from 0; `None` if it is none of the job's.
    pub fn lookup(&self, label: &str) -> Option<u32> {
        match &self.order {
            Order::Range => {
                u32::try_from(label.parse::<i64>().ok()?).ok().filter(|&class| (class as usize) < self.len())
            }
            Order::Integers(integers) => {
                let value: i64 = label.parse().ok()?;
                let place = integers.binary_search_by_key(&value, |&(value, _)| value).ok()?;
                integers.get(place).map(|&(_, class)| class)
            }
            Order::Text(ascending) => {
                let place = ascending.binary_search_by_key(&Some(label), |&class| self.label(class)).ok()?;
                ascending.get(place).copied()
            }
        }
    }

    /// The label of a class; `None` if there are not so many.
    pub fn label(&self, class: u32) -> Option<&str> {
        self.labels.get(class as usize).map(String::as_str)
    }

    /// All labels, in class order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many classes there are; at least 2.
    #[expect(clippy::len_without_is_empty, reason = "there are always two")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Which labels there are, for messages.
    pub(super) fn describe(&self) -> String {
        match self.order {
            Order::Range => format!("labels are the integers from 0 to {}", self.len() - 1),
            Order::Integers(_) | Order::Text(_) => {
                format!("it is none of the {} labels of the training rows", self.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_numbered_by_value() {
        let classes = Classes::from_labels(["10", "2", "-1", "2", "007", "+2"]).unwrap();
        assert_eq!(classes.labels(), ["-1", "2", "7", "10"]);
        assert_eq!(classes.lookup("10"), Some(3));
        assert_eq!(classes.lookup("07"), Some(2));
        assert_eq!(classes.lookup("3"), None);
        assert_eq!(classes.lookup("B"), None);
        assert_eq!(classes.label(0), Some("-1"));
        assert_eq!(classes.label(4), None);
    }

    #[test]
    fn one_label_that_is_no_integer_makes_all_of_them_texts() {
        let classes = Classes::from_labels(["10", "2", "B", "2"]).unwrap();
        assert_eq!(classes.labels(), ["10", "2", "B"]);
        for (class, label) in classes.labels().iter().enumerate() {
            assert_eq!(classes.lookup(label), Some(class as u32));
        }
        assert_eq!(classes.lookup("02"), None);
    }

    #[test]
    fn a_range_knows_its_integers_and_nothing_else() {
        let classes = Classes::integers(26).unwrap();
        assert_eq!(classes.len(), 26);
        assert_eq!(classes.lookup("0"), Some(0));
        assert_eq!(classes.lookup("25"), Some(25));
        for label in ["26", "-1", "A", "", "1.0", "99999999999999999999"] {
            assert_eq!(classes.lookup(label), None, "{label}");
        }
        assert_eq!(classes.label(25), Some("25"));
    }

    #[test]
    fn a_models_list_of_labels_makes_its_classes_again() {
        for known in [
            Classes::from_labels(["10", "2", "-1"]).unwrap(),
            Classes::from_labels(["10", "2", "B"]).unwrap(),
            Classes::integers(3).unwrap(),
        ] {
            let again = Classes::in_order(known.labels()).unwrap();
            assert_eq!(again.labels(), known.labels());
            for label in ["-1", "0", "2", "02", "10", "B", "C"] {
                assert_eq!(again.lookup(label), known.lookup(label), "{label} of {:?}", known.labels());
            }
        }
    }

    #[test]
    fn a_list_of_labels_keeps_its_order() {
        let list = |labels: &[&str]| Classes::in_order(&labels.iter().map(|&l| l.to_owned()).collect::<Vec<_>>());
        let texts = list(&["cat", "ape", "dog"]).unwrap();
        assert_eq!(
            ["cat", "ape", "dog", "cow"].map(|label| texts.lookup(label)),
            [Some(0), Some(1), Some(2), None]
        );
        let integers = list(&["7", "3"]).unwrap();
        assert_eq!(["07", "3", "x"].map(|label| integers.lookup(label)), [Some(0), Some(1), None]);
        let message = |labels: &[&str]| list(labels).unwrap_err().to_string();
        assert_eq!(message(&["a", "b", "a"]), "the label \"a\" stands for two classes");
        assert_eq!(message(&["7", "1", "07"]), "the label \"07\" stands for two classes");
        assert_eq!(message(&["7"]), "1 different labels; there must be from 2 to 65536");
    }

    #[test]
    fn there_are_from_2_to_65536_classes() {
        assert_eq!(Classes::from_labels(["A", "A"]), Err(DataError::Classes { found: 1 }));
        assert_eq!(Classes::from_labels(["7", "07"]), Err(DataError::Classes { found: 1 }));
        assert_eq!(Classes::from_labels([]), Err(DataError::Classes { found: 0 }));
        let many: Vec<String> = (0..65_537).map(|i| i.to_string()).collect();
        let error = Classes::from_labels(many.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error.to_string(), "65537 different labels; there must be from 2 to 65536");
        assert!(Classes::from_labels(many.iter().take(65_536).map(String::as_str)).is_ok());
        assert!(Classes::integers(1).is_err());
        assert!(Classes::integers(65_537).is_err());
        assert!(Classes::integers(usize::MAX).is_err());
    }
}
