//! Traces and their comparison as pages of HTML.

mod chart;
mod diff;
mod page;
mod show;
mod source;
mod tree;

pub use chart::number_text;
pub use diff::{Compared, diff};
pub use page::{create, file_name, write};
pub use show::show;
