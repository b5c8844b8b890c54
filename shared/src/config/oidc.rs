//! Another issuer of tokens, such as a company's sign-in.

use super::{Error, Vars, bad};

/// Whose tokens are taken besides our own, by `OpenID` Connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// What tokens say in `iss`, to the letter.
    pub issuer: String,
    /// What tokens must say in `aud`.
    pub audience: String,
    /// Where its public keys are; none: the issuer's configuration says where.
    pub jwks_url: Option<String>,
    /// The claim that holds the role of an account to be made.
    pub role_claim: String,
    /// Whether somebody without an account gets one.
    pub auto_create: bool,
}

impl Vars<'_> {
    pub(super) fn oidc(&self) -> Result<Option<Oidc>, Error> {
        let jwks_url = self.url("OIDC_JWKS_URL", &["https", "http"])?;
        let auto_create = self.parse("OIDC_AUTO_CREATE", "false", "must be true or false")?;
        let role_claim = self.text("OIDC_ROLE_CLAIM").unwrap_or_else(|| "role".into());
        let audience = self.text("OIDC_AUDIENCE");
        let Some(issuer) = self.url("OIDC_ISSUER", &["https", "http"])? else { return Ok(None) };
        let audience = audience.ok_or_else(|| {
            bad("OIDC_AUDIENCE", "is missing and must be what the issuer's tokens for Dogwatch say in `aud`")
        })?;
        Ok(Some(Oidc { issuer, audience, jwks_url, role_claim, auto_create }))
    }
}
