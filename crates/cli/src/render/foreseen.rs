//! What a declaration would change and cause.

use stead_model::declaration::Foreseen;

/// Differences, then what the cluster would do.
pub(crate) fn foreseen(foreseen: &Foreseen) -> String {
    if foreseen.differences.is_empty() {
        return "nothing to change\n".to_owned();
    }
    let mut text = String::new();
    for difference in &foreseen.differences {
        text.push_str(&format!("{difference}\n"));
    }
    if foreseen.consequences.is_empty() {
        text.push_str("\nnothing is started, stopped or moved\n");
        return text;
    }
    text.push_str("\nthen:\n");
    for consequence in &foreseen.consequences {
        text.push_str(&format!("  {consequence}\n"));
    }
    text
}
