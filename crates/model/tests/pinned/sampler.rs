//! Values of every type that can be read, made by reading: a deserializer that invents what it is
//! asked for. Numbers are their width, texts and lists have one item, and each enum takes its
//! variants in turn until all of all have been met, at whatever depth.

use std::collections::BTreeSet;

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// A text that every type takes that is read from one.
const TEXT: &str = "10.1.0.0/24";

/// A value with the first variant of what it is, and of what in it was new.
pub(crate) struct Sample<T> {
    pub(crate) value: T,
    pub(crate) met: Vec<String>,
}

/// Values until every variant of every enum in them was met.
pub(crate) fn samples<T: DeserializeOwned>() -> Vec<Sample<T>> {
    let mut turns = Turns::default();
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let before = turns.exhausted.len();
        let value = T::deserialize(Sampler(&mut turns)).expect("a value of every type");
        let met = std::mem::take(&mut turns.met);
        if !met.is_empty() || all.is_empty() {
            all.push(Sample { value, met });
        } else if turns.exhausted.len() == before {
            return all;
        }
    }
    panic!("it does not end");
}

/// Which variants were met.
#[derive(Default)]
struct Turns {
    seen: BTreeSet<(&'static str, usize)>,
    /// Variants in which nothing was met or exhausted the last time.
    exhausted: BTreeSet<(&'static str, usize)>,
    /// Enums inside of which the present value is.
    open: Vec<&'static str>,
    /// What is new in the present value.
    met: Vec<String>,
}

impl Turns {
    fn news(&self) -> usize {
        self.seen.len() + self.exhausted.len()
    }

    /// The first one in which there may be something new; the second one, where there is none, or
    /// the enum is inside itself.
    fn variant(&mut self, name: &'static str, variants: &'static [&'static str]) -> usize {
        let usual = 1.min(variants.len() - 1);
        if self.open.contains(&name) {
            return usual;
        }
        let next = (0..variants.len()).find(|next| !self.exhausted.contains(&(name, *next)));
        let next = next.unwrap_or(usual);
        if self.seen.insert((name, next)) {
            self.met.push(format!("{name}::{}", variants[next]));
        }
        next
    }
}

struct Sampler<'a>(&'a mut Turns);

macro_rules! numbers {
    ($($method:ident $visit:ident $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Sampler<'_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_bool visit_bool true;
        deserialize_i8 visit_i8 -8;
        deserialize_i16 visit_i16 -16;
        deserialize_i32 visit_i32 -32;
        deserialize_i64 visit_i64 -64;
        deserialize_u8 visit_u8 8;
        deserialize_u16 visit_u16 16;
        deserialize_u32 visit_u32 32;
        deserialize_u64 visit_u64 64;
        deserialize_f32 visit_f32 3.2;
        deserialize_f64 visit_f64 6.4;
        deserialize_char visit_char 'c';
        deserialize_str visit_str TEXT;
        deserialize_string visit_string TEXT.to_owned();
        deserialize_bytes visit_bytes b"bytes";
        deserialize_byte_buf visit_bytes b"bytes";
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        panic!("postcard cannot read what does not say what it is")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        panic!("postcard cannot skip")
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        panic!("postcard has no names")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, 1))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        items: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, items))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        items: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Items(self.0, 1))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (depth, news) = (self.0.open.len(), self.0.news());
        let variant = self.0.variant(name, variants);
        self.0.open.push(name);
        let value = visitor.visit_enum(Chosen(&mut *self.0, variant as u32));
        self.0.open.truncate(depth);
        if self.0.news() == news && !self.0.open.contains(&name) {
            self.0.exhausted.insert((name, variant));
        }
        value
    }
}

/// So many items, one after the other.
struct Items<'a>(&'a mut Turns, usize);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.1 == 0 {
            return Ok(None);
        }
        self.1 -= 1;
        seed.deserialize(Sampler(&mut *self.0)).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Sampler(&mut *self.0))
    }
}

/// A variant by its number.
struct Chosen<'a>(&'a mut Turns, u32);

impl<'de, 'a> EnumAccess<'de> for Chosen<'a> {
    type Error = Error;
    type Variant = Inside<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Inside<'a>), Error> {
        let number = serde::de::value::U32Deserializer::<Error>::new(self.1);
        Ok((seed.deserialize(number)?, Inside(self.0)))
    }
}

/// What a variant holds.
struct Inside<'a>(&'a mut Turns);

impl<'de> VariantAccess<'de> for Inside<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Sampler(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, items: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, items))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items(self.0, fields.len()))
    }
}
