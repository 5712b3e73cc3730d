//! The macro that declares a message struct together with its accessors.
//!
//! Why a macro: `raft` reads and writes fields partly directly and partly through accessors named
//! after protobuf's code generator. Each field lists the names it gets; the kind before the field
//! says what they do.

/// Declares message structs. Kinds of field:
/// - `value`: a `Copy` field: get by value, set, clear;
/// - `list`: a vector: get as a slice, set, borrow mutably, take, clear;
/// - `part`: an inner message: get by reference, set, borrow mutably, take, clear.
macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        pub struct $message:ident {
            $(
                $(#[$field_meta:meta])*
                $kind:ident $field:ident: $ty:ty => $($name:ident)+;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $message {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl protobuf::Message for $message {}

        impl $message {
            $($crate::accessor::accessors! { $kind $field ($ty) $($name)+ })*
        }
    )*};
}

/// The accessors of one field; see [`messages`] for the kinds.
macro_rules! accessors {
    (value $field:ident ($ty:ty) $get:ident $set:ident $clear:ident) => {
        #[doc = concat!("The field `", stringify!($field), "`.")]
        pub fn $get(&self) -> $ty {
            self.$field
        }

        #[doc = concat!("Sets `", stringify!($field), "`.")]
        pub fn $set(&mut self, value: $ty) {
            self.$field = value;
        }

        #[doc = concat!("Sets `", stringify!($field), "` to its default.")]
        pub fn $clear(&mut self) {
            self.$field = Default::default();
        }
    };
    (list $field:ident ($ty:ty) $get:ident $set:ident $mut:ident $take:ident $clear:ident) => {
        #[doc = concat!("The items of `", stringify!($field), "`.")]
        pub fn $get(&self) -> &[<$ty as IntoIterator>::Item] {
            &self.$field
        }

        $crate::accessor::accessors! { @held $field ($ty) $set $mut $take $clear }
    };
    (part $field:ident ($ty:ty) $get:ident $set:ident $mut:ident $take:ident $clear:ident) => {
        #[doc = concat!("The message in `", stringify!($field), "`.")]
        pub fn $get(&self) -> &$ty {
            &self.$field
        }

        $crate::accessor::accessors! { @held $field ($ty) $set $mut $take $clear }
    };
    (@held $field:ident ($ty:ty) $set:ident $mut:ident $take:ident $clear:ident) => {
        #[doc = concat!("Sets `", stringify!($field), "`.")]
        pub fn $set(&mut self, value: $ty) {
            self.$field = value;
        }

        #[doc = concat!("`", stringify!($field), "`, to change it in place.")]
        pub fn $mut(&mut self) -> &mut $ty {
            &mut self.$field
        }

        #[doc = concat!("Moves `", stringify!($field), "` out and leaves its default.")]
        pub fn $take(&mut self) -> $ty {
            std::mem::take(&mut self.$field)
        }

        #[doc = concat!("Sets `", stringify!($field), "` to its default.")]
        pub fn $clear(&mut self) {
            self.$field = Default::default();
        }
    };
}

pub(crate) use {accessors, messages};
