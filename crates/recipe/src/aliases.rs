//! Alias table: settings of LLaMA-Factory, Axolotl, torchtune, TRL, transformers and Unsloth, and their recipe keys.
//!
//! Two callers: the hint for an unknown recipe key, and `recipe import`. Matching ignores case and treats `-` as `_`.

use Answer::{Key, Near, NotNeeded, Unsupported};

/// Counterpart of another trainer's setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Same meaning under this key.
    Key(&'static str),
    /// Nearest key, and how the two differ.
    Near(&'static str, &'static str),
    /// Safe to drop: a recipe behaves the same without it, for this reason.
    NotNeeded(&'static str),
    /// No counterpart; what to use instead.
    Unsupported(&'static str),
}

/// Looks up another trainer's key.
pub fn answer(name: &str) -> Option<Answer> {
    let folded = name.trim().to_lowercase().replace('-', "_");
    let is_named = |names: &str| names.split(' ').any(|name| name == folded);
    ALIASES.iter().find(|(names, _)| is_named(names)).map(|(_, answer)| *answer)
}

/// Recipe spelling of another trainer's value for the setting at a dotted path.
pub fn value(path: &str, written: &str) -> Option<&'static str> {
    let folded = written.trim().to_lowercase().replace('-', "_");
    let is_written = |names: &[&str]| names.contains(&folded.as_str());
    VALUES.iter().find(|(setting, names, _)| *setting == path && is_written(names)).map(|(_, _, value)| *value)
}

/// Setting, foreign spellings, recipe spelling.
const VALUES: [(&str, &[&str], &str); 8] = [
    (
        "train.optimizer",
        &[
            "adam",
            "adamw_torch",
            "adamw_torch_fused",
            "adamw_hf",
            "adamw_apex_fused",
            "torch.optim.adamw",
            "paged_adamw_32bit",
            "paged_adamw",
        ],
        "adamw",
    ),
    ("train.schedule", &["constant_with_warmup", "none"], "constant"),
    ("train.schedule", &["cosine_with_restarts", "cosine_with_warmup"], "cosine"),
    ("train.method", &["qlora", "peft", "adapter"], "lora"),
    ("train.method", &["sft", "full_finetune", "fft", "none"], "full"),
    ("model.dtype", &["bfloat16", "torch.bfloat16"], "bf16"),
    ("model.dtype", &["float32", "fp32", "torch.float32"], "f32"),
    ("train.lora.target", &["all", "all_linear", "*"], "all-linear"),
];

const BATCH: &str = "samples in an optimizer step: per-device batch x accumulation x devices";
const MICRO: &str = "micro-batches are packed to a number of tokens, whatever the batch size";
const ADAMW_ONLY: &str = "the update rules are AdamW and Muon, with one learning rate for all weights";
const LORA_PLAIN: &str = "adapters are plain LoRA, scaled by alpha / rank and started with B = 0";
/// Why quantisation is not converted.
pub const NO_QUANTISATION: &str =
    "the base is not quantised: LoRA trains beside f32 or bf16 weights; `medley plan` shows what fits";
const ATTENTION: &str = "attention is always computed in tiles, per packed sample; it has no variants";
const ONE_DEVICE: &str = "training runs on one device";
const TRACKERS: &str =
    "metrics are always written to metrics.jsonl and as TensorBoard events; `medley runs` shows them";
const OUT: &str = "`medley train --out DIR` names the folder; a run is DIR/NAME-HASH";
const TEMPLATE: &str = "the model's own chat template renders the turns";
const ANSWERS: &str = "only answers are learned; a source's `supervise` says which";
const PACKED: &str = "samples are always packed and never attend across one another";
const SHUFFLED: &str = "`mix.order` sets the order; by default samples are shuffled by a keyed hash";
const NO_PREFERENCES: &str = "Medley learns answers (supervised fine-tuning), not preferences or rewards";
const LOSS: &str = "the loss is the cross-entropy of the answers' tokens";
const KERNELS: &str = "kernels are chosen by device, with the same result";
const WORKERS: &str = "samples are encoded before the first step; every core is used";
const RESUMED: &str = "`medley train --resume` resumes from the run's last checkpoint";
const HUB: &str = "nothing is uploaded; the run's folder `model/` holds the model as transformers and PEFT load it";
const TEXT_ONLY: &str = "Medley trains on text";
const VOCABULARY: &str = "the vocabulary is the base model's";
const EVAL: &str = "validation every `eval_steps` optimizer steps, and at the end";
const SAVE: &str = "a checkpoint every `save_steps` optimizer steps, and one at the end";
const CODE: &str = "Medley never runs code from a model's repository";
const PLAIN: &str = "it is for plain text; Medley fine-tunes on answers";
const PROFILER: &str = "`metrics.jsonl` has the speed of every step, `medley selftest` that of the device";
const INFERENCE: &str = "it is for inference: `[exam]` and `medley chat` have settings of their own";
const SOURCES: &str = "each pool of records is a table `[sources.NAME]` with a `path`";

/// Foreign names, separated by spaces, and their counterpart.
const ALIASES: &[(&str, Answer)] = &[
    // Model.
    (
        "model_name_or_path base_model model_name model_id model_path pretrained_model_name_or_path \
          checkpoint_dir base_model_name_or_path",
        Key("model.base"),
    ),
    ("model_revision revision_of_model", Key("model.revision")),
    ("torch_dtype infer_dtype compute_dtype precision mixed_precision", Key("model.dtype")),
    (
        "bf16 bfloat16 pure_bf16",
        Near("model.dtype", "dtype = \"bf16\" in [model]; \"auto\" is bf16 on CUDA and f32 elsewhere"),
    ),
    (
        "fp16 float16 fp16_full_eval bf16_full_eval",
        Near("model.dtype", "weights and activations are bf16 or f32; half precision (fp16) is not supported"),
    ),
    ("fp8 fp8_backend fp8_config tf32 float32", Near("model.dtype", "weights and activations are bf16 or f32")),
    (
        "adapter_name_or_path lora_model_dir adapter_path peft_model_id",
        Near("model.base", "a folder of a PEFT adapter (or an earlier run) can be the base"),
    ),
    ("train_from_scratch reinit_weights", Near("model.base", "base = \"init:config.json\" starts from fresh weights")),
    ("trust_remote_code", NotNeeded(CODE)),
    (
        "tokenizer tokenizer_name tokenizer_type tokenizer_config use_fast_tokenizer tokenizer_use_fast \
          tokenizer_legacy",
        NotNeeded("the tokenizer is the base model's"),
    ),
    ("cache_dir", NotNeeded("HF_HOME sets the folder of downloads")),
    (
        "hf_hub_token ms_hub_token om_hub_token hub_token token hf_use_auth_token use_auth_token",
        NotNeeded("HF_TOKEN is used"),
    ),
    (
        "model_type is_llama_derived_model is_qwen_derived_model is_mistral_derived_model is_falcon_derived_model \
          cls_model_config base_model_config",
        NotNeeded("it is read from the base's config.json"),
    ),
    (
        "rope_scaling rope_theta rope model_max_length max_position_embeddings",
        NotNeeded("position embeddings follow the base's config.json"),
    ),
    (
        "resize_vocab add_tokens add_special_tokens new_special_tokens_config special_tokens tokens \
          added_tokens_overrides resize_token_embeddings_to_32x shrink_embeddings additional_special_tokens \
          init_special_tokens",
        Unsupported(VOCABULARY),
    ),
    ("split_special_tokens bos_token eos_token pad_token unk_token", NotNeeded(VOCABULARY)),
    // Quantisation and method.
    (
        "finetuning_type finetune_type adapter training_type peft_type use_peft tuner_type sft_type train_type",
        Near("train.method", "method = \"lora\" or \"full\""),
    ),
    (
        "quantization_bit quantization_method quantization_type double_quantization load_in_4bit load_in_8bit \
          bnb_4bit_quant_type bnb_4bit_compute_dtype use_bnb_nested_quant bnb_config_kwargs quantization \
          quantization_config quantization_device_map gptq qat quantize_base load_in_16bit",
        Unsupported(NO_QUANTISATION),
    ),
    (
        "freeze_trainable_layers freeze_trainable_modules freeze_extra_modules unfrozen_parameters use_llama_pro \
          freeze_language_model",
        Near("train.method", "every weight is trained (full), or adapters are (lora)"),
    ),
    // LoRA.
    ("lora_rank lora_r r rank_dimension", Key("train.lora.rank")),
    ("lora_alpha", Key("train.lora.alpha")),
    ("lora_dropout", Key("train.lora.dropout")),
    (
        "lora_target lora_target_modules target_modules lora_attn_modules lora_target_linear apply_lora_to_mlp",
        Key("train.lora.target"),
    ),
    (
        "apply_lora_to_output lora_target_parameters",
        Near("train.lora.target", "the linear layers of the blocks are adapted, not the head"),
    ),
    (
        "additional_target modules_to_save lora_modules_to_save",
        Near("train.method", "adapters are trained alone, or every weight is (full)"),
    ),
    (
        "use_dora peft_use_dora use_rslora peft_use_rslora pissa_init pissa_iter pissa_convert init_lora_weights \
          peft_init_lora_weights loftq_config lora_bias bias lora_fan_in_fan_out layers_to_transform \
          peft_layers_to_transform lora_rank_pattern lora_alpha_pattern rank_pattern alpha_pattern relora \
          create_new_adapter layer_replication peft use_gradient_checkpointing_lora",
        Unsupported(LORA_PLAIN),
    ),
    (
        "loraplus_lr_ratio loraplus_lr_embedding embedding_lr embedding_lr_scale lr_groups lr_div_factor",
        Unsupported(ADAMW_ONLY),
    ),
    (
        "task_type lora_task_type lora_on_cpu qlora_sharded_model_loading lora_mlp_kernel lora_qkv_kernel \
          lora_o_kernel lora_embedding_kernel",
        NotNeeded(KERNELS),
    ),
    (
        "merge_lora export_dir export_size export_device export_legacy_format save_adapter_weights_only \
          save_merged",
        NotNeeded("the run's `model/` holds the trained weights: adapters, or the whole model"),
    ),
    // Optimisation.
    ("lr learning_rate peak_lr base_lr max_lr", Key("train.learning_rate")),
    ("num_train_epochs num_epochs n_epochs max_epochs_of_training nepochs", Key("train.epochs")),
    ("max_train_steps num_steps total_steps train_steps num_train_steps max_iters", Key("train.max_steps")),
    ("max_steps_per_epoch", Near("train.max_steps", "it counts the steps of the whole training")),
    ("lr_scheduler_type lr_scheduler scheduler scheduler_type lr_schedule", Key("train.schedule")),
    (
        "lr_scheduler_kwargs cosine_min_lr_ratio cosine_constant_lr_ratio min_lr min_lr_ratio lr_quadratic_warmup \
          num_cycles",
        Near("train.schedule", "the rate falls to 0: `cosine` and `linear` have no further settings"),
    ),
    ("num_warmup_steps warmup warmup_iters warm_up_steps", Key("train.warmup_steps")),
    ("warmup_proportion warmup_fraction warm_up_ratio", Key("train.warmup_ratio")),
    ("optim optimiser optimizer_type optimizer_name", Key("train.optimizer")),
    ("use_muon", Near("train.optimizer", "optimizer = \"muon\" in [train]")),
    (
        "optim_args optim_target_modules use_galore use_apollo use_badam use_adam_mini galore_rank galore_target \
          apollo_rank badam_mode qgalore_rank adam_beta3 adam_epsilon2 dion_lr",
        Unsupported(ADAMW_ONLY),
    ),
    ("adam_beta1", Key("train.beta1")),
    ("adam_beta2", Key("train.beta2")),
    ("betas adam_betas", Near("train.beta1", "two keys: `beta1` and `beta2` in [train]")),
    ("adam_epsilon eps adam_eps", Key("train.epsilon")),
    ("clip_grad_norm grad_clip gradient_clipping gradient_clip_val max_gradient_norm clip", Key("train.max_grad_norm")),
    ("wd decoupled_weight_decay", Key("train.weight_decay")),
    (
        "train_batch_size global_batch_size total_batch_size effective_batch_size global_batch_size_of_training",
        Key("train.batch_size"),
    ),
    (
        "per_device_train_batch_size per_device_batch_size micro_batch_size per_gpu_train_batch_size \
          device_batch_size",
        Near("train.batch_size", BATCH),
    ),
    (
        "gradient_accumulation_steps grad_accum accumulate_grad_batches gradient_accumulation accumulation_steps",
        Near("train.batch_size", BATCH),
    ),
    ("auto_find_batch_size per_device_eval_batch_size eval_batch_size eval_accumulation_steps", NotNeeded(MICRO)),
    (
        "average_tokens_across_devices label_smoothing_factor loss loss_type use_dft_loss use_eaft_loss \
          use_asft_loss chunked_cross_entropy flash_attn_cross_entropy ignore_pad_token_for_loss \
          completion_only_loss assistant_only_loss num_output_chunks use_eaft",
        NotNeeded(LOSS),
    ),
    (
        "neftune_noise_alpha",
        Unsupported("no noise is added to embeddings; `train.lora.dropout` is the regularisation there is"),
    ),
    ("optimizer_in_bwd", Key("train.optimizer_in_backward")),
    ("random_seed random_state data_seed", Key("train.seed")),
    (
        "full_determinism deterministic cudnn_deterministic_mode",
        NotNeeded("training on one kind of device is always bit-identical"),
    ),
    // Memory and speed.
    (
        "gradient_checkpointing activation_checkpointing enable_activation_checkpointing \
          disable_gradient_checkpointing use_gradient_checkpointing gradient_checkpointing_kwargs \
          activation_checkpointing_kwargs selective_checkpointing use_unsloth_gc use_reentrant_gc recompute",
        Near("train.block_policy", "\"auto\" recomputes where memory needs it, with the same result"),
    ),
    (
        "activation_offloading enable_activation_offloading layer_offloading offload_folder max_memory \
          gpu_memory_limit memory_limit",
        NotNeeded("`medley plan` shows the memory that a training takes and what would make it fit"),
    ),
    (
        "flash_attn flash_attention attn_implementation sdp_attention xformers_attention flex_attention \
          eager_attention sage_attention s2_attention shift_attn use_flash_attn use_flash_attention_2 \
          flash_attention_2 flash_attn_fuse_mlp flash_optimum attn_bias",
        NotNeeded(ATTENTION),
    ),
    (
        "fused use_unsloth enable_liger_kernel use_liger_kernel liger_kernel_config torch_compile \
          torch_compile_backend torch_compile_mode compile use_v1_kernels use_kernels use_cache use_kv_cache \
          tiled_mlp upcast_layernorm upcast_lmhead_output plugins liger_rope liger_rms_norm liger_glu_activation \
          liger_layer_norm liger_fused_linear_cross_entropy liger_cross_entropy",
        NotNeeded(KERNELS),
    ),
    (
        "deepspeed fsdp fsdp_config fsdp_version fsdp_final_state_dict_type ddp ddp_timeout \
          ddp_find_unused_parameters ddp_backend local_rank world_size num_gpus n_gpu tensor_parallel_size \
          tensor_parallel_dim data_parallel_dim context_parallel_size sequence_parallel_degree dp_shard_size \
          dp_replicate_size device_map accelerator_config ray_num_workers custom_sharded_layers nproc_per_node \
          fsdp_cpu_offload fsdp_reshard_after_forward",
        Unsupported(ONE_DEVICE),
    ),
    ("device use_cpu no_cuda cuda", NotNeeded("`medley train --device` selects the device")),
    (
        "dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor dataloader_persistent_workers \
          dataset_num_proc dataset_processes preprocessing_num_workers preprocessing_batch_size num_workers \
          num_proc low_cpu_mem_usage torch_empty_cache_steps gc_steps data_shared_file_system skip_prepare_dataset",
        NotNeeded(WORKERS),
    ),
    ("dataloader_drop_last drop_last", NotNeeded("the last step of a pass may be smaller; every sample is learned")),
    // Lengths and data.
    (
        "cutoff_len sequence_len max_seq_len max_seq_length seq_len block_size max_sequence_length seq_length \
          sequence_length model_max_len",
        Key("chat.max_tokens"),
    ),
    ("max_length", Key("chat.max_tokens")),
    (
        "max_prompt_len max_source_length max_prompt_length",
        Near("chat.max_tokens", "a sample is cut as a whole, passages first, the question never"),
    ),
    ("max_target_length max_new_tokens generation_max_length", Key("exam.max_new_tokens")),
    (
        "truncation_mode truncation excess_length_strategy min_sample_len",
        NotNeeded("a sample that is too long is cut, passages first, the question never"),
    ),
    (
        "packing neat_packing sample_packing packed eval_packing eval_sample_packing packing_strategy \
          padding_free multipack_real_batches sample_packing_group_size sample_packing_bin_size split_across_pack \
          batch_flattening sample_packing_sequentially",
        NotNeeded(PACKED),
    ),
    (
        "pad_to_sequence_len pad_to_multiple_of padding padding_side pad_to_max_length",
        NotNeeded("samples are packed: there is no padding"),
    ),
    ("group_by_length length_column_name train_sampling_strategy curriculum_sampling", NotNeeded(SHUFFLED)),
    ("shuffle shuffle_dataset shuffle_merged_datasets", NotNeeded(SHUFFLED)),
    ("disable_shuffling", Near("mix.order", "order = \"sequential\" in [mix] takes source after source")),
    (
        "template chat_template chat_template_jinja chat_template_path chat_template_kwargs conv_template \
          prompt_template apply_chat_template",
        NotNeeded(TEMPLATE),
    ),
    ("default_system default_system_message system_prompt system_message new_system_prompt", Key("chat.system")),
    (
        "train_on_inputs train_on_input train_on_prompt mask_history train_on_responses_only roles_to_train \
          train_on_eos supervise_all mask_prompt",
        Near("sources.NAME.supervise", ANSWERS),
    ),
    (
        "dataset datasets data dataset_name train_file train_data data_path data_files train_dataset dataset_path \
          dataset_dir data_dir training_data",
        Near("sources.NAME.path", SOURCES),
    ),
    (
        "dataset_text_field text_column dataset_kwargs dataset_config dataset_train_split dataset_test_split \
          dataset_config_name",
        Near("sources.NAME.columns", "a source has `columns`, `config` and `split`"),
    ),
    ("sources_list source", Near("sources.NAME.path", SOURCES)),
    ("subset config_name data_config", Key("sources.NAME.config")),
    (
        "max_samples num_samples max_train_samples limit",
        Near(
            "sources.NAME.max_records",
            "`mix.size` is the size of the mix, a source's `max_records` the limit on its records",
        ),
    ),
    (
        "interleave_probs mix_strategy probabilities weights proportions mixture sampling_weights fractions",
        Near("mix.ratio", "the parts of each source or group"),
    ),
    (
        "val_size val_set_size validation_split_percentage eval_split test_size test_split_size validation_split \
          val_split",
        Near("mix.validation", "validation = { fraction = 0.05 } in [mix] takes 5 % of every source"),
    ),
    (
        "eval_dataset test_datasets dataset_val validation_file val_dataset eval_data",
        Near("mix.validation", "validation is held out of every source: `[mix.validation]`"),
    ),
    (
        "streaming dataset_streaming buffer_size overwrite_cache dataset_prepared_path tokenized_path \
          remove_unused_columns dataset_keep_in_memory pretrain_multipack_buffer_size",
        NotNeeded("every source is streamed; encoded samples are kept in memory"),
    ),
    (
        "tool_format media_dir image_max_pixels image_min_pixels video_max_pixels video_fps freeze_vision_tower \
          freeze_multi_modal_projector processor_type crop_to_patches video_maxlen audio_sampling_rate image_size",
        Unsupported(TEXT_ONLY),
    ),
    ("pretraining_dataset pretraining_sample_concatenation", Unsupported(PLAIN)),
    // Preferences.
    (
        "pref_beta pref_loss pref_ftx beta rl rl_beta trl ref_model reward_model dpo_label_smoothing simpo_gamma \
          kto_chosen_weight kto_rejected_weight orpo_alpha ppo_epochs process_reward_model",
        Unsupported(NO_PREFERENCES),
    ),
    ("stage", NotNeeded("Medley fine-tunes on answers, as `stage: sft` does")),
    // Validation, checkpoints and logs.
    (
        "early_stopping_patience early_stopping_steps",
        Near(
            "train.early_stopping",
            "early_stopping = { patience = 3 } in [train] counts validations without improvement",
        ),
    ),
    (
        "early_stopping_threshold",
        Near("train.early_stopping", "early_stopping = { patience = 3, min_delta = 0.01 } in [train]"),
    ),
    (
        "load_best_model_at_end",
        Near("train.result", "result = \"best\" in [train] keeps the weights with the lowest validation loss"),
    ),
    (
        "metric_for_best_model greater_is_better",
        NotNeeded("the best checkpoint is the one with the lowest validation loss"),
    ),
    (
        "save_only_model",
        Near("train.keep", "keep = \"model\" in [train], the default, leaves the model alone when a run has ended"),
    ),
    (
        "eval_strategy evaluation_strategy evals_per_epoch eval_on_start eval_delay run_val_every_n_steps \
          validate_every",
        Near("train.eval_steps", EVAL),
    ),
    ("do_eval do_train do_predict", NotNeeded("`medley train` trains, validates and sits the exam of the recipe")),
    (
        "predict_with_generate compute_accuracy prediction_loss_only do_causal_lm_eval do_bench_eval \
          eval_causal_lm_metrics",
        Near("exam.papers", "`[exam]` grades generated answers"),
    ),
    (
        "save_strategy saves_per_epoch save_first_step save_every_n_steps save_every checkpoint_every",
        Near("train.save_steps", SAVE),
    ),
    ("save_limit keep_checkpoints max_checkpoints keep_last_n_checkpoints", Key("train.save_total_limit")),
    ("log_every_n_steps log_steps log_interval logging_interval", Key("train.logging_steps")),
    (
        "logging_strategy logging_first_step logging_nan_inf_filter log_level log_peak_memory_stats disable_tqdm \
          include_num_input_tokens_seen include_effective_tokens_per_second include_tokens_per_second include_tkps \
          print_param_status plot_loss debug skip_memory_metrics",
        NotNeeded(TRACKERS),
    ),
    (
        "report_to use_wandb wandb_project wandb_entity wandb_watch wandb_name wandb_log_model wandb_run_id \
          wandb_mode use_swanlab swanlab_project swanlab_run_name swanlab_mode mlflow_tracking_uri \
          mlflow_experiment_name use_tensorboard use_mlflow use_comet metric_logger logging_dir trackio_space_id \
          project",
        NotNeeded(TRACKERS),
    ),
    ("run_name experiment_name", Key("name")),
    ("output_dir out_dir save_dir output", NotNeeded(OUT)),
    (
        "overwrite_output_dir resume_from_checkpoint auto_resume_from_checkpoints ignore_data_skip \
          recipe_checkpoint resume adapter_checkpoint",
        NotNeeded(RESUMED),
    ),
    (
        "checkpointer checkpoint_files save_safetensors save_on_each_node safe_serialization",
        NotNeeded("the run's `model/` holds safetensors"),
    ),
    ("loss_watchdog_threshold loss_watchdog_patience", NotNeeded("a loss that is not finite stops the run by itself")),
    (
        "push_to_hub hub_model_id hub_strategy hub_private_repo push_dataset_to_hub export_hub_model_id \
          hub_revision",
        Unsupported(HUB),
    ),
    ("profiler enable_torch_profiler profiler_steps profiler_output_dir", NotNeeded(PROFILER)),
    (
        "infer_backend vllm_maxlen vllm_gpu_util vllm_enforce_eager vllm temperature top_p top_k do_sample \
          generation_temperature num_beams eval_num_beams repetition_penalty",
        Unsupported(INFERENCE),
    ),
    (
        "strict enable_thinking preserve_thinking fix_untrained_tokens ddp_static_graph trainer_cls \
          mean_resizing_embeddings eot_tokens",
        NotNeeded("answers are learned unchanged, by one trainer"),
    ),
    // Sections.
    ("training training_args trainer train_config hyperparameters optimization training_arguments sft", Key("train")),
    ("evaluation eval benchmark test tests", Key("exam")),
    ("validation", Key("mix.validation")),
    ("papers", Key("exam.papers")),
    ("lora_config peft_config adapters", Key("train.lora")),
    ("model_args base", Key("model.base")),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::schema::SCHEMA;

    /// Whether the schema has a setting or table at a dotted path; `NAME` matches any name.
    fn is_setting(path: &str) -> bool {
        let mut schema = &*SCHEMA;
        for key in path.split('.') {
            let named = schema["properties"].get(key);
            let Some(inner) = named.or_else(|| (key == "NAME").then(|| &schema["additionalProperties"])) else {
                return false;
            };
            schema = inner;
        }
        true
    }

    #[test]
    fn every_answer_names_a_key_that_exists() {
        for (names, answer) in ALIASES {
            if let Key(key) | Near(key, _) = answer {
                assert!(is_setting(key), "{names:?} -> {key}");
            }
        }
    }

    #[test]
    fn a_name_has_one_answer_and_is_written_as_it_is_looked_up() {
        let mut seen = HashSet::new();
        for name in ALIASES.iter().flat_map(|(names, _)| names.split(' ')) {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(name, name.to_lowercase().replace('-', "_"));
        }
        assert_eq!(answer("Per-Device-Train-Batch-Size"), Some(Near("train.batch_size", BATCH)));
    }
}
