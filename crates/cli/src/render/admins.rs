//! Who may ask nodes from other machines.

use stead_model::remote::RemoteAdmin;

use super::Table;

pub(crate) fn admins(admins: &[RemoteAdmin]) -> String {
    let mut table = Table::new(&["NAME", "ROLE", "CERTIFICATE"]);
    for admin in admins {
        let certificate = admin.certificate.get(..16).unwrap_or(&admin.certificate);
        table.row(vec![admin.admin.to_string(), admin.role.word().into(), certificate.into()]);
    }
    table.text_or("nobody may ask from other machines")
}
