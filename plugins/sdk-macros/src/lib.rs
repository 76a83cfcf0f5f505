//! The attribute macro of `groundcrew-plugin`.

use proc_macro::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, ExprLit, Ident, ItemFn, Lit, LitStr, Meta, Result, Token, parenthesized,
    parse_macro_input,
};

/// Makes a component's exports of an `async fn(Input, Host) -> Result<Output>`.
///
/// The argument names the capabilities it asks for, each with its verbs and with the reason that
/// is shown to whoever grants it:
/// `#[plugin(machines(list, restart, reason = "restarts Machines"))]`. The first line of the
/// function's documentation is the plugin's summary; name and version are its crate's.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let requests =
        parse_macro_input!(arguments with Punctuated::<Request, Token![,]>::parse_terminated);
    let function = parse_macro_input!(item as ItemFn);
    expand(&requests, &function)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// One capability: `machines(list, restart, reason = "...")`.
struct Request {
    name: Ident,
    verbs: Vec<Ident>,
    reason: LitStr,
}

impl Parse for Request {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        let content;
        parenthesized!(content in input);
        let mut verbs = Vec::new();
        let mut reason = None;
        while !content.is_empty() {
            let word: Ident = content.parse()?;
            if content.peek(Token![=]) {
                content.parse::<Token![=]>()?;
                if word != "reason" {
                    return Err(syn::Error::new(word.span(), "only `reason` takes a value"));
                }
                reason = Some(content.parse()?);
            } else {
                verbs.push(word);
            }
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        let missing = || syn::Error::new(name.span(), "say why: `reason = \"...\"`");
        let reason = reason.ok_or_else(missing)?;
        Ok(Self {
            name,
            verbs,
            reason,
        })
    }
}

fn expand(
    requests: &Punctuated<Request, Token![,]>,
    function: &ItemFn,
) -> Result<proc_macro2::TokenStream> {
    if function.sig.asyncness.is_none() || function.sig.inputs.len() != 2 {
        let message = "a plugin is an `async fn(input: Input, host: Host) -> Result<Output>`";
        return Err(syn::Error::new(function.sig.span(), message));
    }
    let summary = summary(&function.attrs).ok_or_else(|| {
        syn::Error::new(
            function.sig.span(),
            "the first line of the documentation is the plugin's summary",
        )
    })?;
    let name = &function.sig.ident;
    let requests = requests.iter().map(
        |Request {
             name,
             verbs,
             reason,
         }| {
            let name = contract_name(name);
            let verbs = verbs.iter().map(contract_name);
            quote! { (#name, &[#(#verbs),*], #reason) }
        },
    );
    Ok(quote! {
        #function

        #[cfg(target_arch = "wasm32")]
        #[expect(unsafe_code, reason = "the exports of the canonical ABI")]
        const _: () = {
            struct Plugin;

            impl ::groundcrew_plugin::export::Guest for Plugin {
                fn describe() -> ::groundcrew_plugin::export::PluginInfo {
                    ::groundcrew_plugin::export::describe(
                        #name,
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                        #summary,
                        &[#(#requests),*],
                    )
                }

                fn run(
                    input: ::std::string::String,
                ) -> ::core::result::Result<::std::string::String, ::groundcrew_plugin::export::Problem> {
                    ::groundcrew_plugin::export::run(#name, &input)
                }
            }

            ::groundcrew_plugin::bindings::export!(Plugin with_types_in ::groundcrew_plugin::bindings);
        };
    })
}

/// The first line of a doc comment.
fn summary(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        })
}

/// Rust's spelling to the contract's: `read_config` is `read-config`.
fn contract_name(name: &Ident) -> String {
    name.to_string().replace('_', "-")
}
