//! The Rego engine behind a narrow door: text in, values or one error with its place out.
//!
//! Everything that could make a judgement differ from one day to the next, or never end, is closed off here: time limit,
//! functions that look outside, printing, and panics of the engine itself.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;

use super::scan::forbidden_functions;

/// How many steps of an evaluation lie between two looks at the clock.
const STEPS_BETWEEN_CHECKS: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);

/// The stack on which policies are compiled and evaluated: enough for what the limits in `scan` let through, a rule needing at most
/// some ten kilobytes for each other rule it leads to. Memory is taken only as it is used.
const STACK_BYTES: usize = 256 << 20;

/// Something the engine could not do: a syntax error, a failed evaluation, the time limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Fault {
    /// The file, and line and column from 1, where the engine named them.
    pub(super) place: Option<(String, u32, u32)>,
    pub(super) message: String,
    /// Whether it was the time limit.
    pub(super) timed_out: bool,
}

impl Fault {
    fn plain(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            timed_out: false,
        }
    }

    /// Reads the engine's message: a blank line, `--> file:line:column`, the line underlined, `error: what is wrong`.
    fn read(error: &anyhow::Error) -> Self {
        let timed_out = error.chain().any(|cause| {
            matches!(
                cause.downcast_ref(),
                Some(regorus::LimitError::TimeLimitExceeded { .. })
            )
        });
        let text = format!("{error:#}");
        let place = text.lines().find_map(|line| {
            let mut parts = line.trim().strip_prefix("--> ")?.rsplitn(3, ':');
            let column = parts.next()?.trim().parse().ok()?;
            let line = parts.next()?.parse().ok()?;
            Some((parts.next()?.to_owned(), line, column))
        });
        let message = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("error: "))
            .unwrap_or(text.trim());
        Self {
            place,
            message: message.to_owned(),
            timed_out,
        }
    }

    /// The message with its place before it, for a reader who sees nothing else.
    pub(super) fn placed(&self) -> String {
        match &self.place {
            Some((file, line, _)) => format!("{file}:{line}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A set of policies, loaded and ready; each judgement works on a clone.
#[derive(Clone)]
pub(super) struct Engine {
    inner: regorus::Engine,
}

impl Engine {
    /// An engine without policies that gives up after `limit`.
    pub(super) fn new(limit: Duration) -> Result<Self, Fault> {
        guarded(|| {
            let mut inner = regorus::Engine::new();
            inner.set_rego_v0(false);
            // A builtin that fails must fail the judgement: as "undefined" it would quietly drop the denial it is part of.
            inner.set_strict_builtin_errors(true);
            inner.set_gather_prints(true);
            inner.set_execution_timer_config(ExecutionTimerConfig {
                limit,
                check_interval: STEPS_BETWEEN_CHECKS,
            });
            for (function, arguments) in forbidden_functions() {
                // Extensions go before builtins, so this holds where reading the text did not find the call.
                let refused = format!("{function} is not allowed: a verdict must be replayable");
                let refuse = move |_: Vec<regorus::Value>| -> anyhow::Result<regorus::Value> {
                    Err(anyhow::anyhow!(refused.clone()))
                };
                inner.add_extension(function, arguments, Box::new(refuse))?;
            }
            Ok(Self { inner })
        })
    }

    /// Parses and adds one file.
    pub(super) fn add(&mut self, path: &str, text: &str) -> Result<(), Fault> {
        guarded(|| {
            self.inner
                .add_policy(path.to_owned(), text.to_owned())
                .map(drop)
        })
    }

    /// Analyses all files together (variables that are never bound, rules that contradict each other), without judging anything.
    pub(super) fn prepare(&mut self) -> Result<(), Fault> {
        guarded(|| self.inner.eval_query("true".to_owned(), false).map(drop))
    }

    /// Sets `input` from JSON.
    pub(super) fn set_input(&mut self, json: &str) -> Result<(), Fault> {
        guarded(|| {
            self.inner.set_input(regorus::Value::from_json_str(json)?);
            Ok(())
        })
    }

    /// The rules of a package with their values; empty where there is no such package.
    ///
    /// All packages are evaluated for it. Asked for one package that lies in several files, regorus 0.14 takes it for done after the
    /// first file: rules of the others then find each other undefined and come out empty.
    pub(super) fn package(
        &mut self,
        name: &str,
    ) -> Result<BTreeMap<String, regorus::Value>, Fault> {
        guarded(|| {
            let results = self.inner.eval_query("data".to_owned(), false)?;
            let all = results
                .result
                .into_iter()
                .next()
                .and_then(|r| r.expressions.into_iter().next())
                .map(|e| e.value);
            let mut rules = BTreeMap::new();
            let package = all.as_ref().and_then(|data| {
                let data = data.as_object().ok()?;
                data.get(&regorus::Value::from(name))?.as_object().ok()
            });
            for (rule, value) in package.into_iter().flat_map(|p| p.iter()) {
                rules.insert(rule.as_string()?.to_string(), value.clone());
            }
            Ok(rules)
        })
    }

    /// The value of one rule, `None` where it is undefined.
    pub(super) fn rule(&mut self, path: &str) -> Result<Option<regorus::Value>, Fault> {
        guarded(|| {
            let value = self.inner.eval_rule(path.to_owned())?;
            Ok((value != regorus::Value::Undefined).then_some(value))
        })
    }

    /// What `print` wrote since the last call.
    pub(super) fn prints(&mut self) -> Vec<String> {
        self.inner.take_prints().unwrap_or_default()
    }

    /// From now on, notes which lines are evaluated.
    pub(super) fn cover(&mut self) {
        self.inner.set_enable_coverage(true);
    }

    /// Which lines were evaluated.
    pub(super) fn coverage(&self) -> Result<regorus::coverage::Report, Fault> {
        guarded(|| self.inner.get_coverage_report())
    }
}

/// Does work with the engine on a stack that is large enough for it: the engine recurses over what policies say, and running out of
/// stack ends the process.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Fault> {
    let failed = || Fault::plain("the policies could not be worked on; try again");
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|_| failed())?
            .join()
            .map_err(|_| failed())
    })
}

/// Runs a step of the engine. A panic inside it is an error of that step: a policy must not be able to end the process.
fn guarded<T>(step: impl FnOnce() -> anyhow::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::read(&error)),
        Err(_) => Err(Fault::plain(
            "the policy engine failed on this policy; simplify it",
        )),
    }
}
