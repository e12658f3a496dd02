//! The terminal that steers Pilothouse agents, and the same questions for scripts.
//!
//! Pure are [`message`], [`model`], [`update`], [`actions`] and [`mod@format`]: what happened goes in, what to do
//! comes out.
//! [`view`], [`widget`] and [`theme`] draw a model; [`app`] is the one loop around both, [`screen`], [`input`],
//! [`signals`], [`mod@panic`], [`link`], [`address`] and [`trust`] its edges. [`plain`] answers and [`follow`] writes
//! streams without a terminal; [`cli`] composes.

pub mod cli;

pub mod app;

pub mod message;
pub mod model;
pub mod update;

pub mod actions;
pub mod format;

pub mod theme;
pub mod view;
pub mod widget;

pub mod address;
pub mod follow;
pub mod input;
pub mod link;
pub mod panic;
pub mod plain;
pub mod screen;
pub mod signals;
pub mod trust;

#[cfg(feature = "demo")]
pub mod demo;
