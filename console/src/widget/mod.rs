//! Drawing on a buffer: each widget is a function of values, theme and area, and knows nothing of the model.

pub mod bar;
pub mod chart;
pub mod frame;
pub mod heat;
pub mod text;
