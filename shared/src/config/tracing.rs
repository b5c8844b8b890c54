//! Which share of what happens is traced.

use super::{Error, Vars, bad};

/// Which traces are recorded, as the standard's samplers have it.
///
/// Source: OpenTelemetry, "Environment Variable Specification", general SDK configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether what a caller of ours decided about a trace holds for us too.
    pub by_parent: bool,
    /// The share of the traces that begin with us, from 0 to 1.
    pub share: f64,
}

impl Vars<'_> {
    pub(super) fn sampling(&self) -> Result<Sampling, Error> {
        let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
        let sampler = self.text(name).unwrap_or_else(|| "parentbased_always_on".into());
        let root = sampler.trim().strip_prefix("parentbased_");
        let by_parent = root.is_some();
        let share = match root.unwrap_or(sampler.trim()) {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                let expected = "must be a share from 0 to 1, like 0.1";
                let share: f64 = self.parse(argument, "1", expected)?;
                if !(0.0..=1.0).contains(&share) {
                    return Err(bad(argument, expected));
                }
                share
            }
            _ => {
                let expected = "must be always_on, always_off or traceidratio, each with or without parentbased_ before it";
                return Err(bad(name, expected));
            }
        };
        Ok(Sampling { by_parent, share })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Process};
    use super::*;

    #[test]
    fn samplers_are_those_of_the_standard() {
        let sampling = |sampler: &'static str, argument: &'static str| {
            let lookup = move |name: &str| match name {
                "OTEL_TRACES_SAMPLER" => Some(sampler.to_owned()),
                "OTEL_TRACES_SAMPLER_ARG" => Some(argument.to_owned()),
                _ => None,
            };
            Config::read(Process::AllInOne("data".into()), lookup).map(|config| config.sampling)
        };
        assert_eq!(sampling("", ""), Ok(Sampling { by_parent: true, share: 1.0 }));
        assert_eq!(sampling("always_off", ""), Ok(Sampling { by_parent: false, share: 0.0 }));
        assert_eq!(
            sampling("parentbased_traceidratio", "0.25"),
            Ok(Sampling { by_parent: true, share: 0.25 })
        );
        let refused = sampling("traceidratio", "10%").unwrap_err().to_string();
        assert_eq!(refused, "OTEL_TRACES_SAMPLER_ARG must be a share from 0 to 1, like 0.1");
        assert!(sampling("traceidratio", "1.5").is_err());
        assert!(
            sampling("sometimes", "").unwrap_err().to_string().starts_with("OTEL_TRACES_SAMPLER must be")
        );
    }
}
