//! Options of layers that tch lacks.

/// Declares options with their defaults: a struct that can gain fields, a `Default`, and a setter
/// for each field. A field of which the default depends on the layer is an `Option`, declared with
/// the type that its setter takes: `affine: Option<bool> as bool`.
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$lifetime:lifetime>)? {
            $($(#[$doc:meta])* $field:ident: $type:ty $(as $given:ty)? = $default:expr,)*
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
            $($crate::nn::config::config!(@setter $(#[$doc])* $field: $type $(as $given)?);)*
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident: $type:ty as $given:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: $given) -> Self {
            self.$field = Some($field);
            self
        }
    };
}

pub(crate) use config;
