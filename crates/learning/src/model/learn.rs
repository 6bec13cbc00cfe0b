//! Owns learning by mini-batches: which rows a step takes, in what order and at what rate, and when to stop.

use super::damping::InputMeans;
use super::error::ModelError;
use super::form::{Form, Output};
use super::kernels::{Aligned, BLOCK, Goal, Network, Path, Standard, Stretch, padded};
use super::learning::{Learned, Learning, Place};
use super::loss::Tally;
use super::mlp::Mlp;
use super::optimizer::{self, OPTIMIZERS, Optimizer};
use super::real::Real;
use crate::data::{Part, Row};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long the kernels may run, in multiplications and additions, before `keep_going` is asked: under 0.1 ms.
const WORK_BETWEEN_QUESTIONS: usize = 1 << 20;
/// What a weight's step costs, in the same.
const WORK_PER_WEIGHT: usize = 32;
/// Rows that take no more bytes than this once they are padded are converted once, for all epochs.
const KEPT_BYTES: usize = 1 << 20;
/// Masks are drawn from the task's stream of random numbers with this bit turned, the order of rows from it as it is.
const MASKS: u64 = 1 << 63;

/// Lets `weights`, used as `form` says, learn from the rows of `part`.
///
/// A step takes the next batch of rows, the last of an epoch what is left; the gradient is that of the mean loss over
/// its rows, to which the proximal term is added before it is clipped. The loss is the cross-entropy of the softmax for
/// classes, half the squared error of the standardised value for values. Step `s` of the `n` steps of the call has
/// the schedule's rate at `place.from + (place.to - place.from) s / n`. Optimisers begin without memory.
///
/// `keep_going` is asked at least every millisecond or so (a block of rows at least); the weights are changed only if
/// learning comes to its end. The result is a function of the arguments alone, bit for bit, on any machine.
///
/// # Errors
/// A setting or a place out of range; an unknown optimiser or schedule; the data has other features, other classes or
/// another kind of target than the model; [`ModelError::Interrupted`]; [`ModelError::Diverged`].
pub fn learn<T: Real>(
    weights: &mut Mlp<T>,
    form: &Form,
    part: &Part,
    how: &Learning,
    place: &Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<Learned, ModelError> {
    learn_on(Path::detect(), weights, form, part, how, place, keep_going)
}

/// As [`learn`], and tells the mean of what came into each layer: over the last rows, at most 64, by the weights they met.
///
/// # Errors
/// As [`learn`].
pub fn learn_with_means<T: Real>(
    weights: &mut Mlp<T>,
    form: &Form,
    part: &Part,
    how: &Learning,
    place: &Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<(Learned, InputMeans), ModelError> {
    let (learned, task) = learn_task(Path::detect(), weights, form, part, how, place, keep_going)?;
    Ok((learned, task.means()))
}

/// As [`learn`], with chosen instructions. The result is the same, bit for bit.
///
/// # Errors
/// As [`learn`].
pub fn learn_on<T: Real>(
    path: Path,
    weights: &mut Mlp<T>,
    form: &Form,
    part: &Part,
    how: &Learning,
    place: &Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<Learned, ModelError> {
    learn_task(path, weights, form, part, how, place, keep_going).map(|(learned, _)| learned)
}

/// Does it; how it went, and the task as it was when its last block had gone through.
fn learn_task<'a, T: Real>(
    path: Path,
    weights: &mut Mlp<T>,
    form: &Form,
    part: &'a Part,
    how: &Learning,
    place: &Place,
    keep_going: &dyn Fn() -> bool,
) -> Result<(Learned, Task<'a, T>), ModelError> {
    how.check()?;
    place.check()?;
    fits(weights, form, part, how)?;
    let rate = how.method.schedule.factor()?;
    let network = Network::for_learning(path, weights, form.activation, how.method.dropout);
    let mut steps = Steps::new(path, weights, how, &network)?;
    let mut task = Task::new(path, network, form, part, how, place);
    let rows = part.rows();
    let batch = how.method.batch_size.map_or(rows, |size| size as usize).min(rows);
    let total = rows.div_ceil(batch) as u64 * u64::from(how.epochs);
    let work_of_step = weights.shape().parameters() * WORK_PER_WEIGHT;
    let mut ask = Questions { keep_going, work: 0 };
    let mut tally = Tally::NONE;
    let mut taken = 0;
    for epoch in 1..=how.epochs {
        tally = Tally::NONE;
        if how.method.shuffle {
            task.shuffle();
        }
        for start in (0..rows).step_by(batch) {
            let end = rows.min(start + batch);
            for block in (start..end).step_by(BLOCK) {
                let block = block..end.min(block + BLOCK);
                ask.after(task.network.work_per_row() * block.len(), epoch)?;
                task.block(block, &mut tally);
            }
            let done = place.from + (place.to - place.from) * (taken as f64 / total as f64);
            steps.step(&mut task.network, how.eta * rate(done), end - start);
            ask.work += work_of_step;
            taken += 1;
        }
        if !(tally.loss(rows).is_finite() && T::finite(path, &task.network)) {
            return Err(ModelError::Diverged { epoch });
        }
    }
    task.network.write_to(weights);
    let (wrong, root) = tally.errors(rows);
    let error = match form.output {
        Output::Classes(_) => wrong,
        Output::Value { deviation, .. } => root * deviation,
    };
    Ok((Learned { loss: tally.loss(rows), error, steps: taken }, task))
}

impl Place {
    /// Fails unless the shares are in order and from 0 to 1.
    fn check(&self) -> Result<(), ModelError> {
        for (field, value) in [("from", self.from), ("to", self.to)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(ModelError::Setting { field, value, range: "from 0 to 1" });
            }
        }
        match self.from <= self.to {
            true => Ok(()),
            false => Err(ModelError::Setting { field: "from", value: self.from, range: "at most what to is" }),
        }
    }
}

/// Fails unless the rows can be learnt by a model of this form.
fn fits<T: Real>(weights: &Mlp<T>, form: &Form, part: &Part, how: &Learning) -> Result<(), ModelError> {
    let differs = |what, model, data| Err(ModelError::DataDiffers { what, model, data });
    let (inputs, outputs, columns) = (weights.inputs(), weights.outputs(), part.columns());
    if inputs != columns {
        return differs("features", inputs, columns);
    }
    if let Some(scaling) = &form.inputs
        && scaling.mean().len() != columns
    {
        return differs("features", scaling.mean().len(), columns);
    }
    match (&form.output, part.classes()) {
        (Output::Classes(_), 0) => {
            return Err(ModelError::TargetsDiffer { model: "classes", data: "values" });
        }
        (Output::Value { .. }, 1..) => {
            return Err(ModelError::TargetsDiffer { model: "values", data: "classes" });
        }
        (Output::Classes(_), classes) if outputs != classes => return differs("classes", outputs, classes),
        (Output::Value { .. }, 0) if outputs != 1 => return differs("values", outputs, 1),
        _ => {}
    }
    let setting = |field, value, range, good: bool| {
        if good { Ok(()) } else { Err(ModelError::Setting { field, value, range }) }
    };
    if let Output::Value { mean, deviation } = form.output {
        setting(
            "label_smoothing",
            how.method.label_smoothing,
            "0 when values are learnt",
            how.method.label_smoothing == 0.0,
        )?;
        setting("the values' mean", mean, "finite", mean.is_finite())?;
        setting("the values' deviation", deviation, "above 0", deviation > 0.0 && deviation.is_finite())?;
    }
    let rows = part.rows();
    setting("rows", rows as f64, "at most 4294967295", u32::try_from(rows).is_ok())
}

/// Asks now and then whether to go on.
struct Questions<'a> {
    keep_going: &'a dyn Fn() -> bool,
    work: usize,
}

impl Questions<'_> {
    /// Counts `work` that is about to be done, and asks if there was enough since the last time.
    fn after(&mut self, work: usize, epoch: u32) -> Result<(), ModelError> {
        if self.work >= WORK_BETWEEN_QUESTIONS {
            self.work = 0;
            if !(self.keep_going)() {
                return Err(ModelError::Interrupted { epoch });
            }
        }
        self.work += work;
        Ok(())
    }
}

/// The rows of a task, their order, and the network that meets them block by block.
struct Task<'a, T> {
    path: Path,
    network: Network<T>,
    part: &'a Part,
    standard: Standard<T>,
    /// All rows, converted; empty if they are too many.
    kept: Aligned<T>,
    /// The features of a block, in padded rows.
    features: Aligned<T>,
    /// The rows in the order of this epoch; empty if that is theirs.
    order: Vec<u32>,
    /// One per row; empty if there are values.
    labels: Vec<u32>,
    /// One per row, standardised; empty if there are classes.
    values: Vec<T>,
    /// See [`Goal`].
    surplus: T,
    share: Vec<T>,
    /// For the order of the rows.
    orders: ChaCha8Rng,
    /// For the units left out.
    masks: Option<ChaCha8Rng>,
    /// The places of the block that went through last.
    last: std::ops::Range<usize>,
}

impl<'a, T: Real> Task<'a, T> {
    fn new(path: Path, network: Network<T>, form: &Form, part: &'a Part, how: &Learning, place: &Place) -> Self {
        let rows = part.rows();
        let step = padded::<T>(part.columns());
        let random = |stream| {
            let mut random = ChaCha8Rng::seed_from_u64(place.seed);
            random.set_stream(stream);
            random
        };
        let (mut labels, mut values) = (Vec::new(), Vec::new());
        match form.output {
            Output::Classes(_) => labels = (0..rows).map(|row| part.label(row)).collect(),
            Output::Value { mean, deviation } => {
                let standardised = |row| T::from_f64((f64::from(part.value(row)) - mean) / deviation);
                values = (0..rows).map(standardised).collect();
            }
        }
        let classes = part.classes().max(1);
        let mut share = vec![T::ZERO; padded::<T>(classes)];
        share[..classes].fill(T::from_f64(how.method.label_smoothing / classes as f64));
        let standard = Standard::new(form.inputs.as_ref());
        let keep = rows.next_multiple_of(4).saturating_mul(step * size_of::<T>()) <= KEPT_BYTES;
        // Three more rows, as the kernels take four at a time from wherever a batch begins.
        let mut kept = Aligned::zeros(if keep { (rows + 3) * step } else { 0 });
        if keep {
            for (row, to) in kept.chunks_exact_mut(step).take(rows).enumerate() {
                T::gather(path, &[part.row(row)], part.columns(), &standard, to);
            }
        }
        Self {
            path,
            network,
            part,
            standard,
            kept,
            features: Aligned::zeros(BLOCK * step),
            order: if how.method.shuffle { (0..rows as u32).collect() } else { Vec::new() },
            labels,
            values,
            surplus: T::from_f64(1.0 - how.method.label_smoothing),
            share,
            orders: random(place.stream),
            masks: (how.method.dropout > 0.0).then(|| random(place.stream ^ MASKS)),
            last: 0..0,
        }
    }

    /// Brings the rows into a new order (Fisher and Yates), from the one they are in.
    fn shuffle(&mut self) {
        for last in (1..self.order.len()).rev() {
            // Every place is as likely as the next to within last / 2^32.
            let other = (u64::from(self.orders.next_u32()) * (last as u64 + 1)) >> 32;
            self.order.swap(last, other as usize);
        }
    }

    /// Takes the rows at these places of the order forward and backward.
    fn block(&mut self, places: std::ops::Range<usize>, tally: &mut Tally) {
        let (path, count, columns) = (self.path, places.len(), self.part.columns());
        let step = padded::<T>(columns);
        let mut numbers = [0; BLOCK];
        let numbers = &mut numbers[..count];
        match self.order.get(places.clone()) {
            Some(order) => numbers.copy_from_slice(order),
            None => numbers.iter_mut().zip(places.clone()).for_each(|(to, place)| *to = place as u32),
        }
        let kept = !self.kept.is_empty();
        let features = match (kept, self.order.is_empty()) {
            (true, true) => &self.kept[places.start * step..(places.start + count.next_multiple_of(4)) * step],
            (true, false) => {
                T::pick(path, &self.kept, numbers, step, &mut self.features);
                &self.features
            }
            (false, _) => {
                let mut rows = [Row::U8(&[]); BLOCK];
                rows.iter_mut().zip(&*numbers).for_each(|(to, &row)| *to = self.part.row(row as usize));
                T::gather(path, &rows[..count], columns, &self.standard, &mut self.features);
                &self.features
            }
        };
        let (mut labels, mut values) = ([0; BLOCK], [T::ZERO; BLOCK]);
        let goal = if self.values.is_empty() {
            labels.iter_mut().zip(&*numbers).for_each(|(to, &row)| *to = self.labels[row as usize]);
            Goal::Classes { labels: &labels[..count], surplus: self.surplus, share: &self.share }
        } else {
            values.iter_mut().zip(&*numbers).for_each(|(to, &row)| *to = self.values[row as usize]);
            Goal::Values(&values[..count])
        };
        if let Some(masks) = &mut self.masks {
            self.network.draw(masks, count);
        }
        T::learn(path, &mut self.network, features, goal, tally);
        self.last = places;
    }

    /// The mean of what came into each layer with the last block.
    fn means(&self) -> InputMeans {
        let (rows, columns) = (self.last.len(), self.part.columns());
        let step = padded::<T>(columns);
        let in_order = !self.kept.is_empty() && self.order.is_empty();
        let features = if in_order { &self.kept[self.last.start * step..] } else { &self.features[..] };
        self.network.input_means(features, columns, rows)
    }
}

/// What is done with a gradient: its bounds, and the optimiser with the numbers it keeps.
struct Steps<T> {
    path: Path,
    optimizer: Box<dyn Optimizer<T>>,
    /// For each layer the numbers kept for its weights.
    numbers: Vec<[Aligned<T>; 2]>,
    clip: Option<f64>,
    proximal: T,
    /// For each layer its weights before the first step; empty without a proximal term.
    start: Vec<Vec<T>>,
}

impl<T: Real> Steps<T> {
    fn new(path: Path, weights: &Mlp<T>, how: &Learning, network: &Network<T>) -> Result<Self, ModelError> {
        let Some(entry) = optimizer::find(&how.method.optimizer.name) else {
            let known = OPTIMIZERS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
            return Err(ModelError::Unknown { what: "optimizer", name: how.method.optimizer.name.clone(), known });
        };
        let optimizer = T::optimizer(entry, &how.method.optimizer, how.method.weight_decay);
        let slots = optimizer.slots();
        let layers = 0..weights.layers().len();
        let length = |layer: usize, slot: usize| if slot < slots { network.weights(layer).len() } else { 0 };
        let numbers = layers.clone().map(|layer| [0, 1].map(|slot| Aligned::zeros(length(layer, slot)))).collect();
        let start = match how.method.proximal > 0.0 {
            true => layers.map(|layer| network.weights(layer).to_vec()).collect(),
            false => Vec::new(),
        };
        let proximal = T::from_f64(how.method.proximal);
        Ok(Self { path, optimizer, numbers, clip: how.method.clip_norm, proximal, start })
    }

    /// Moves the weights by the gradient of the mean over `rows` rows.
    fn step(&mut self, network: &mut Network<T>, rate: f64, rows: usize) {
        // Error signals are what the outputs lack: minus the gradient of the loss, summed over the rows.
        let mut scale = -1.0 / rows as f64;
        if self.clip.is_some() || !self.start.is_empty() {
            let mut squares = 0.0;
            for layer in 0..network.count() {
                let (weights, gradient) = network.weights_and_gradient(layer);
                let start = self.start.get(layer).map_or(&[][..], |start| start);
                squares +=
                    T::mean_gradient(self.path, gradient, T::from_f64(scale), weights, start, self.proximal);
            }
            let norm = squares.sqrt();
            scale = self.clip.filter(|&clip| norm > clip).map_or(1.0, |clip| clip / norm);
        }
        self.optimizer.begin(rate);
        for (layer, [first, second]) in self.numbers.iter_mut().enumerate() {
            for stretch in network.stretches(layer) {
                let (weights, gradient) = network.weights_and_gradient(layer);
                let kept = |numbers: &Aligned<T>| if numbers.is_empty() { 0..0 } else { stretch.clone() };
                let (of_first, of_second) = (kept(first), kept(second));
                let stretch = Stretch {
                    weights: &mut weights[stretch.clone()],
                    gradient: &gradient[stretch],
                    scale: T::from_f64(scale),
                    first: &mut first[of_first],
                    second: &mut second[of_second],
                };
                self.optimizer.step(self.path, stretch);
            }
        }
        T::moved(self.path, network);
    }
}
