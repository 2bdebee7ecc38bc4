//! How long the tasks of a bench run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

/// What `--runs` may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durations {
    /// All alike.
    Constant(Duration),
    /// Memoryless, with this mean: what much real work looks like.
    Exponential(Duration),
    /// Nine in ten take the first, one in ten the second.
    Mixed(Duration, Duration),
}

impl FromStr for Durations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| super::super::args::parse_time(text);
        match text.split_once(':') {
            None => time(text).map(Self::Constant),
            Some(("constant", rest)) => time(rest).map(Self::Constant),
            Some(("exp", rest)) => time(rest).map(Self::Exponential),
            Some(("mixed", rest)) => match rest.split_once(',') {
                Some((short, long)) => Ok(Self::Mixed(time(short)?, time(long)?)),
                None => Err("mixed takes two times, as in mixed:100us,10ms".to_owned()),
            },
            Some(_) => Err("allowed are 1ms, constant:1ms, exp:1ms and mixed:100us,10ms".to_owned()),
        }
    }
}

/// As it is read.
impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(time) => write!(f, "constant:{}us", time.as_micros()),
            Self::Exponential(mean) => write!(f, "exp:{}us", mean.as_micros()),
            Self::Mixed(short, long) => write!(f, "mixed:{}us,{}us", short.as_micros(), long.as_micros()),
        }
    }
}

impl Durations {
    /// The payload with which the built-in kind `sleep` runs that long, for the task of this number.
    pub(super) fn payload(self, number: u32) -> Bytes {
        let micros = self.pick(fraction(number)).as_micros();
        Bytes::from(format!("{micros}us"))
    }

    fn pick(self, fraction: f64) -> Duration {
        match self {
            Self::Constant(time) => time,
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - fraction).ln()),
            Self::Mixed(short, _) if fraction < 0.9 => short,
            Self::Mixed(_, long) => long,
        }
    }
}

/// From 0 to 1, the same for the same number in every run: runs that are compared have the same work.
fn fraction(number: u32) -> f64 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut bits = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_drawn_as_they_say() {
        let mean = |text: &str| {
            let durations: Durations = text.parse().unwrap();
            let total: Duration = (0..10_000).map(|number| durations.pick(fraction(number))).sum();
            total.as_micros() as f64 / 10_000.0
        };
        assert_eq!(mean("5ms").round(), 5_000.0);
        assert!((950.0..1_050.0).contains(&mean("exp:1ms")), "{}", mean("exp:1ms"));
        assert!((1_000.0..1_180.0).contains(&mean("mixed:100us,10ms")), "{}", mean("mixed:100us,10ms"));
        assert!("mixed:1ms".parse::<Durations>().is_err() && "soon:1ms".parse::<Durations>().is_err());
        assert_eq!(Durations::Constant(Duration::from_millis(2)).payload(0), "2000us");
        for text in ["5ms", "exp:1ms", "mixed:100us,10ms"] {
            let durations: Durations = text.parse().unwrap();
            assert_eq!(durations.to_string().parse(), Ok(durations));
        }
    }
}
