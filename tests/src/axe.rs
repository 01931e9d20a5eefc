//! Accessibility, judged by axe-core in the page itself.

use std::fs;

use anyhow::ensure;

use crate::{browser::Page, node};

/// Pinned, as what it finds changes with each version.
const AXE: &str = "axe-core@4.11.0";

/// WCAG 2.2 at level AA, and what is good besides.
const RUN: &str = "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    .then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`).join('\\n'))";

/// Has the page judged as it is now, for who prefers dark and for who prefers light.
///
/// # Errors
/// It names what is at fault, or it can't be had.
pub fn judge(page: &Page) -> anyhow::Result<()> {
    let packages = node::with_packages(&[AXE])?;
    let axe = fs::read_to_string(packages.join("node_modules/axe-core/axe.min.js"))?;
    for scheme in ["light", "dark"] {
        page.prefer(scheme)?;
        page.evaluate(&axe)?;
        let found = page.evaluate(RUN)?;
        ensure!(found == "", "{scheme}: {found}");
    }
    Ok(())
}
