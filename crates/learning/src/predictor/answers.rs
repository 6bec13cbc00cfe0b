//! Owns answers: the best few classes of each query with their probabilities, or its value.

/// What is said of one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The likeliest classes and their probabilities, the likeliest first; of equals, the lowest class first.
    Classes(Vec<(u32, f32)>),
    /// A value in its own unit.
    Value(f32),
}

/// The answers to many queries, in flat arrays: nothing is allocated for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    top: usize,
    classes: Vec<u32>,
    numbers: Vec<f32>,
}

impl Answers {
    /// No answers yet; each will have `top` classes, or a value if `top` is 0.
    pub fn new(top: usize) -> Self {
        Self { top, ..Self::default() }
    }

    /// How many queries are answered.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.top.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// How many classes each answer has; 0 if answers are values.
    pub fn top(&self) -> usize {
        self.top
    }

    /// `len` x `top` classes, the likeliest of each query first; empty if answers are values.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// `len` x `top` probabilities that go with the classes, or `len` values.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// The answer to a query; `None` if there are not so many.
    pub fn get(&self, query: usize) -> Option<Answer> {
        if self.top == 0 {
            return self.numbers.get(query).map(|&value| Answer::Value(value));
        }
        let range = query.checked_mul(self.top)?..query.checked_add(1)?.checked_mul(self.top)?;
        let (classes, numbers) = (self.classes.get(range.clone())?, self.numbers.get(range)?);
        Some(Answer::Classes(classes.iter().copied().zip(numbers.iter().copied()).collect()))
    }

    /// All answers, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Answer> + '_ {
        (0..self.len()).filter_map(|query| self.get(query))
    }

    /// Makes room for this many more.
    pub(super) fn reserve(&mut self, queries: usize) {
        self.numbers.reserve(queries.saturating_mul(self.top.max(1)));
        self.classes.reserve(queries.saturating_mul(self.top));
    }

    /// Adds the best of a query's probabilities, of which there are at least `top`.
    pub(super) fn push_best(&mut self, probabilities: &[f32]) {
        let first = self.numbers.len();
        self.classes.resize(first + self.top, 0);
        self.numbers.resize(first + self.top, 0.0);
        best(probabilities, &mut self.classes[first..], &mut self.numbers[first..]);
    }

    /// Adds a value.
    pub(super) fn push_value(&mut self, value: f32) {
        self.numbers.push(value);
    }
}

/// So few are kept in order one by one; more are sorted.
const FEW: usize = 32;

/// Finds the greatest of the probabilities, as many as there is room for.
fn best(probabilities: &[f32], classes: &mut [u32], numbers: &mut [f32]) {
    let top = classes.len().min(probabilities.len());
    if top > FEW {
        let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
        order.sort_by(|&a, &b| probabilities[b as usize].total_cmp(&probabilities[a as usize]));
        for ((class, number), &best) in classes.iter_mut().zip(numbers).zip(&order) {
            (*class, *number) = (best, probabilities[best as usize]);
        }
        return;
    }
    let mut count = 0;
    for (class, &probability) in probabilities.iter().enumerate() {
        // Most are not even better than the last that is kept.
        if count == top && (top == 0 || probability <= numbers[top - 1]) {
            continue;
        }
        let mut place = count.min(top - 1);
        while place > 0 && numbers[place - 1] < probability {
            (classes[place], numbers[place]) = (classes[place - 1], numbers[place - 1]);
            place -= 1;
        }
        (classes[place], numbers[place]) = (class as u32, probability);
        count = (count + 1).min(top);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_equals_the_lowest_class_comes_first() {
        let mut answers = Answers::new(3);
        answers.push_best(&[0.1, 0.4, 0.1, 0.4]);
        answers.push_best(&[0.25; 4]);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers.get(0), Some(Answer::Classes(vec![(1, 0.4), (3, 0.4), (0, 0.1)])));
        assert_eq!(answers.get(1), Some(Answer::Classes(vec![(0, 0.25), (1, 0.25), (2, 0.25)])));
        assert_eq!((answers.get(2), answers.get(usize::MAX)), (None, None));
        let mut values = Answers::new(0);
        values.push_value(-2.0);
        assert_eq!(values.iter().collect::<Vec<_>>(), [Answer::Value(-2.0)]);
        assert_eq!(values.get(1), None);
    }

    proptest! {
        #[test]
        fn few_and_many_are_found_alike(numbers in proptest::collection::vec(0u8..20, 1..90), top in 1usize..90) {
            let probabilities: Vec<f32> = numbers.iter().map(|&number| f32::from(number) / 20.0).collect();
            let top = top.min(numbers.len());
            let mut answers = Answers::new(top);
            answers.push_best(&probabilities);
            let mut right: Vec<(u32, f32)> = (0..).zip(probabilities).collect();
            right.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            right.truncate(top);
            prop_assert_eq!(answers.get(0), Some(Answer::Classes(right)));
        }
    }
}
