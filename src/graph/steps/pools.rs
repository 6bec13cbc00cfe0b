//! Owns pools as steps.

use super::super::window::Window;
use super::{Run, Step};
use crate::model::images::{self, Pooling};

/// A pool over windows.
pub(in super::super) struct Pool {
    pub window: Window,
    pub step: usize,
    pub pooling: Pooling,
}

impl Step for Pool {
    fn run(&self, run: Run<'_>) {
        let Window { size, out_size, kernel, stride, dilation, pad, pad_end } = self.window;
        let (pooling, step, input, out) = (self.pooling, self.step, run.inputs[0], run.out);
        images::pool(
            run.path,
            images::Pool { pooling, input, size, step, out_size, kernel, stride, dilation, pad, pad_end, out },
        );
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
