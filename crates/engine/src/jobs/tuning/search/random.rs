//! Owns random search: configurations are drawn, and each is tried to its end.

use super::SearchRow;
use super::grid::ToTheEnd;

pub(super) const ROW: SearchRow = SearchRow {
    name: "random",
    about: "--trials configurations drawn from the space; of listed values none twice",
    draws: true,
    rungs: |_| vec![1.0],
    make: |_| Box::new(ToTheEnd),
};
