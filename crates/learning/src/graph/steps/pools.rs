//! Owns pools as steps.

use super::{Run, Step};
use crate::model::images::{self, Pooling, Window};

/// A pool over windows.
pub(in super::super) struct Pool {
    pub window: Window,
    pub step: usize,
    pub pooling: Pooling,
}

impl Step for Pool {
    fn run(&self, run: Run<'_>) {
        let (window, pooling, step) = (self.window, self.pooling, self.step);
        images::pool(run.path, images::Pool { pooling, input: run.inputs[0], window, step, out: run.out });
    }
}

/// A pool over all pixels.
pub(in super::super) struct GlobalPool {
    pub pixels: usize,
    pub step: usize,
    pub pooling: Pooling,
}

impl Step for GlobalPool {
    fn run(&self, run: Run<'_>) {
        let size = [1, self.pixels];
        let window = Window { kernel: size, out_size: [1; 2], ..Window::point(size) };
        Pool { window, step: self.step, pooling: self.pooling }.run(run);
    }
}
