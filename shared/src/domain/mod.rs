//! The rules, and nothing but the rules: no database, no network, no clock of its own.

pub mod cause;
pub mod escalation;
pub mod job;
pub mod role;
pub mod sla;
pub mod ticket;

/// The built-in policies that apply to every ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is promised.
    pub sla: sla::Policy,
    /// Who is called when a promise was broken.
    pub escalation: escalation::Policy,
}

/// Declares an enum that is the same text in JSON, in both databases and in messages.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal $(| $alias:literal)*,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sqlx::Type)]
        #[sqlx(type_name = "text")]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text $(, alias = $alias)*)] #[sqlx(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in JSON and in the databases.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> std::result::Result<Self, String> {
                match text {
                    $($text $(| $alias)* => Ok(Self::$variant),)*
                    _ => Err(format!("must be one of: {}", [$($text),*].join(", "))),
                }
            }
        }
    };
}
pub(crate) use text_enum;
