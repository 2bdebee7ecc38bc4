//! Structs that travel as arrays: what comes by the thousand in one message spells no field names.

/// Declares a struct that is encoded as an array of its fields in order.
///
/// The fields after the bar are optional: absent or nil when they have no value, and a tail of absent
/// ones is not sent at all. Elements after the last known one are ignored.
macro_rules! array {
    (
        $(#[$doc:meta])*
        pub struct $name:ident $(<$lt:lifetime>)? {
            $($(#[$fdoc:meta])* $field:ident: $ty:ty,)+
            $(| $(#[$odoc:meta])* $opt:ident: $oty:ty,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name $(<$lt>)? {
            $($(#[$fdoc])* pub $field: $ty,)+
            $($(#[$odoc])* pub $opt: Option<$oty>,)?
        }

        impl $(<$lt>)? serde::Serialize for $name $(<$lt>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple as _;
                let count = 0 $(+ { let _ = stringify!($field); 1 })+ $(+ usize::from(self.$opt.is_some()))?;
                let mut array = serializer.serialize_tuple(count)?;
                $(array.serialize_element(&self.$field)?;)+
                $(if let Some(value) = &self.$opt {
                    array.serialize_element(value)?;
                })?
                array.end()
            }
        }

        $crate::codec::array!(@de [$($lt)?] $name { $($field: $ty,)+ $(| $opt: $oty,)? });
    };

    (@de [] $name:ident { $($body:tt)+ }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::codec::array!(@visit deserializer, $name, $name, { $($body)+ })
            }
        }
    };

    (@de [$lt:lifetime] $name:ident { $($body:tt)+ }) => {
        impl<'de: $lt, $lt> serde::Deserialize<'de> for $name<$lt> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::codec::array!(@visit deserializer, $name, $name<'de>, { $($body)+ })
            }
        }
    };

    (@visit $deserializer:ident, $name:ident, $out:ty, { $($field:ident: $ty:ty,)+ $(| $opt:ident: $oty:ty,)? }) => {{
        struct ArrayVisitor;
        impl<'de> serde::de::Visitor<'de> for ArrayVisitor {
            type Value = $out;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!("an array: ", stringify!($name), " [", $(stringify!($field), " ",)+ "]"))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                $(let $field = seq.next_element()?.ok_or_else(|| {
                    <A::Error as serde::de::Error>::missing_field(stringify!($field))
                })?;)+
                $(let $opt = seq.next_element::<Option<_>>()?.flatten();)?
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok($name { $($field,)+ $($opt,)? })
            }
        }
        $deserializer.deserialize_seq(ArrayVisitor)
    }};
}
pub(crate) use array;
