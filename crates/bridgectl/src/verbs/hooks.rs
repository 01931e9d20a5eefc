//! `bridgectl hooks list`, `bridgectl hooks test [NAME]`

use std::time::Duration;

use anyhow::bail;
use framebridge_proto::{
    hooks::{HookEvent, HookStatus, HookTrial},
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use serde_json::json;

use crate::{ask, cli::Hooks, exit::Exit, names, out::Out, table};

pub(crate) async fn run(asked: Hooks, out: Out) -> anyhow::Result<Exit> {
    let SupervisorAnswer::Hooks(hooks) = ask::supervisor(SupervisorRequest::Hooks).await? else {
        bail!(ask::MISMATCH)
    };
    match asked {
        Hooks::List => list(&hooks, out),
        Hooks::Test { name } => test(hooks, name, out).await,
    }
}

fn list(hooks: &[HookStatus], out: Out) -> anyhow::Result<Exit> {
    let mut text = if hooks.is_empty() {
        "nobody is told what happens: `[hooks.NAME]` in the configuration changes that".to_owned()
    } else {
        table::plain(&["HOOK", "TELLS", "OF", "TOLD", "WAITING", "LOST"])
            .add_rows(hooks.iter().map(row))
            .trim_fmt()
    };
    for (hook, error) in hooks.iter().filter_map(|hook| Some((hook, hook.last_error.as_ref()?))) {
        let next = hook.retry_in_ms.map(Duration::from_millis);
        let next = next.map_or_else(String::new, |next| format!("; next try in {:.0} s", next.as_secs_f64()));
        text += &format!("\n{}: {error}{next}", hook.name);
    }
    out.tell(&text, &json!({ "hooks": hooks }))?;
    Ok(Exit::Ok)
}

fn row(hook: &HookStatus) -> [String; 6] {
    let is_all = hook.events.len() + 1 == HookEvent::ALL.len();
    let events: Vec<_> = hook.events.iter().map(|event| event.as_str()).collect();
    [
        hook.name.clone(),
        hook.target.clone(),
        if is_all {
            "everything".to_owned()
        } else {
            events.join(" ")
        },
        hook.delivered.to_string(),
        hook.waiting.to_string(),
        hook.lost.to_string(),
    ]
}

async fn test(hooks: Vec<HookStatus>, name: Option<String>, out: Out) -> anyhow::Result<Exit> {
    let wanted: Vec<HookStatus> = match &name {
        None if hooks.is_empty() => bail!("there is no hook: write `[hooks.NAME]` into the configuration"),
        None => hooks,
        Some(name) => vec![names::hook(&hooks, name)?.clone()],
    };
    let (mut lines, mut trials, mut all_well) = (Vec::new(), Vec::new(), true);
    for HookStatus { name, target, .. } in wanted {
        let request = SupervisorRequest::TryHook { hook: name.clone() };
        let SupervisorAnswer::HookTried(HookTrial { took_ms, error }) = ask::supervisor(request).await? else {
            bail!(ask::MISMATCH)
        };
        let came = error
            .clone()
            .unwrap_or_else(|| format!("{target} was told in {took_ms} ms"));
        lines.push(format!("{name}: {came}"));
        all_well &= error.is_none();
        trials.push(json!({ "hook": name, "target": target, "took_ms": took_ms, "error": error }));
    }
    out.tell(&lines.join("\n"), &json!({ "hooks": trials }))?;
    Ok(if all_well { Exit::Ok } else { Exit::Failure })
}
