//! `medley chat`: talk to a model, a line at a time.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use medley_chat::{ChatTokenizer, Message, Role, visible};
use medley_model::{Decoder, DeviceRequest, GenerateOptions, NOT_FINITE, generate_with};
use miette::{IntoDiagnostic, Result, bail};

use crate::inference_plan::Answering;
use crate::models::find_model;

/// Arguments of `medley chat`.
#[derive(Args)]
pub struct ChatArgs {
    /// A model directory in Hugging Face layout, a PEFT adapter, a run (folder, name or hash), or a hub model (owner/name)
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// The base model of an adapter, if it is not where adapter_config.json says
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Answer this and stop (without it: one answer for every line that you type)
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// System message before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Longest answer in tokens
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_new_tokens: usize,
    /// auto, cuda, wgpu or cpu
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceRequest::Auto)]
    device: DeviceRequest,
    /// Load the model even if the memory plan says that it does not fit
    #[arg(long)]
    ignore_plan: bool,
}

/// Prompt length that the memory plan assumes, in tokens; a conversation grows with every turn.
const PLANNED_PROMPT: usize = 2048;

/// Runs `medley chat`.
pub fn run(args: ChatArgs) -> Result<()> {
    let answering = Answering {
        batch_size: 1,
        prompt_tokens: PLANNED_PROMPT,
        new_tokens: args.max_new_tokens,
        ignore_plan: args.ignore_plan,
    };
    let loaded = find_model(&args.model)?.load(args.base.as_deref(), args.device, None, &answering)?;
    let session =
        Session { model: loaded.opened.model, tokenizer: loaded.tokenizer, max_new_tokens: args.max_new_tokens };
    let mut messages = Vec::new();
    messages.extend(args.system.map(|text| Message::new(Role::System, text)));
    match args.prompt {
        Some(prompt) => session.answer(&mut messages, &prompt),
        None => session.converse(messages),
    }
}

struct Session {
    model: Decoder,
    tokenizer: ChatTokenizer,
    max_new_tokens: usize,
}

impl Session {
    /// One answer for every line of standard input, until it ends.
    fn converse(&self, mut messages: Vec<Message>) -> Result<()> {
        let interactive = std::io::stdin().is_terminal();
        let fresh = messages.clone();
        if interactive {
            eprintln!("An empty line starts a new conversation, Ctrl-D ends.");
        }
        loop {
            if interactive {
                eprint!("> ");
            }
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).into_diagnostic()? == 0 {
                return Ok(());
            }
            match line.trim() {
                "" => messages.clone_from(&fresh),
                text => self.answer(&mut messages, text)?,
            }
        }
    }

    /// Prints the answer to standard output as it grows, and appends both turns to the conversation.
    fn answer(&self, messages: &mut Vec<Message>, text: &str) -> Result<()> {
        messages.push(Message::new(Role::User, text));
        let prompt = self.tokenizer.encode_prompt(messages).into_diagnostic()?;
        let longest = self.model.config.max_position_embeddings;
        if prompt.len() >= longest {
            bail!("the conversation is {} tokens long, the model takes {longest}", prompt.len());
        }
        let options = GenerateOptions {
            max_new_tokens: self.max_new_tokens.min(longest - prompt.len()),
            batch_size: 1,
            stop_ids: self.tokenizer.end_of_turn().to_vec(),
            vocab_limit: Some(self.tokenizer.vocab_size()),
        };
        let mut printed = String::new();
        let mut ids = Vec::new();
        let answers = generate_with(&self.model, &[prompt], &options, &mut |_, id| {
            ids.push(id);
            // A character may span several tokens: only complete ones are printed.
            let text = self.tokenizer.decode(&ids);
            let certain = text.trim_end_matches('\u{fffd}');
            if let Some(new) = certain.strip_prefix(printed.as_str()) {
                print!("{}", visible(new));
                printed = certain.to_owned();
            }
        });
        if answers[0].last() == Some(&NOT_FINITE) {
            println!();
            bail!(
                help = "its weights may be damaged; `medley exam` refuses such a model, too",
                "the model's logits are not finite (NaN or infinite)"
            );
        }
        let whole = self.tokenizer.decode(&ids);
        let rest = whole.strip_prefix(printed.as_str()).unwrap_or_default();
        println!("{}", visible(rest));
        messages.push(Message::new(Role::Assistant, whole));
        Ok(())
    }
}
