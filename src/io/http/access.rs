//! Who may read `/metrics`: whoever the API server knows by the token, and lets `get` that path.

use axum::http::StatusCode;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use std::time::Duration;

/// The most that one review may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Clone)]
pub enum Access {
    /// The API server of this client.
    Api(Client),
    /// Nobody can be asked: there is no API server, so nobody is let in.
    NoApi,
}

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, String);

impl Access {
    /// Whether the bearer of `token` may `get` `path`.
    pub(super) async fn check(&self, token: Option<String>, path: &str) -> Result<(), Refusal> {
        let Self::Api(client) = self else {
            let why = "there is no API server to review a token: HTTPS serves nobody here, plain HTTP does\n";
            return Err((StatusCode::FORBIDDEN, why.into()));
        };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err((StatusCode::UNAUTHORIZED, "a bearer token is needed\n".into()));
        };
        match tokio::time::timeout(DEADLINE, review(client, token, path)).await {
            Ok(Ok(result)) => result,
            Ok(Err(fault)) => {
                tracing::warn!(%fault, "cannot review a token: our ServiceAccount needs create on tokenreviews and subjectaccessreviews");
                Err((StatusCode::INTERNAL_SERVER_ERROR, "the token could not be reviewed\n".into()))
            }
            Err(_) => {
                Err((StatusCode::GATEWAY_TIMEOUT, "the API server did not review the token in time\n".into()))
            }
        }
    }
}

async fn review(client: &Client, token: String, path: &str) -> kube::Result<Result<(), Refusal>> {
    let ask = TokenReview {
        spec: TokenReviewSpec { token: Some(token), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &ask).await?;
    let status = answer.status.unwrap_or_default();
    let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
        return Ok(Err((StatusCode::UNAUTHORIZED, "the API server does not know this token\n".into())));
    };
    let ask = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username.clone(),
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &ask).await?;
    Ok(if answer.status.is_some_and(|status| status.allowed) {
        Ok(())
    } else {
        let who = user.username.unwrap_or_default();
        Err((StatusCode::FORBIDDEN, format!("{who} may not get {path}\n")))
    })
}
