//! Options of layers that tch lacks.

/// Declares options with their defaults: a struct that can gain fields, a `Default`, and a setter
/// for each field.
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$lifetime:lifetime>)? {
            $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub struct $name $(<$lifetime>)? {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl $(<$lifetime>)? Default for $name $(<$lifetime>)? {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }

        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

pub(super) use config;
