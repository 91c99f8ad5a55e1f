"""Wrong answers to every exercise, for the tests: typical mistakes, planted into the right code.

Each is the file, what stands in the right answer, what stands in the wrong one, and words that the
student must then read.
"""

STEP, LOOP, OPTIM = "train/training/step.py", "train/training/loop.py", "train/training/optim.py"
MODEL, HEADS, BERT, INT8 = (f"minibert/{name}.py" for name in ("model", "heads", "bert", "int8"))
NORMALIZE, PIECES, CUT = (f"tokenizer/{name}.py" for name in ("normalize", "wordpiece", "truncate"))
SAVED = "train/training/checkpoints.py"
WRONG: dict[str, list[tuple[str, str, str, str]]] = {
    "normalize": [
        (
            NORMALIZE,
            r're.sub(r"\s", " ", _REMOVED.sub("", text))',
            r'_REMOVED.sub("", re.sub(r"\s", " ", text))',
            "when white space is replaced first",
        ),
        (NORMALIZE, "text.translate(_LOWER_CASE)", "text.lower()", "with str.lower()"),
        (NORMALIZE, 'ACCENT.sub("", decomposed)', 'ACCENT.sub("", text)', "not decomposed (NFD)"),
        (NORMALIZE, "    if strip_accents:\n", "    if do_lower_case:\n", "strip_accents=False"),
    ],
    "wordpiece": [
        (PIECES, "return None  # the", "return pieces  # the", "when the pieces before the"),
        (PIECES, "prefix = inner", 'prefix = ""', "looked up without their ##"),
        (PIECES, "len(word) > max_chars", "len(word) >= max_chars", "a word of 100 letters"),
        (PIECES, "        pieces.append(piece)\n", "", "should be ['un', '##aff', '##able']"),
    ],
    "truncation": [
        (CUT, "if first <= second:", "if first < second:", "when the odd token goes to the other"),
        (CUT, "tokens[len(tokens) - n_kept :]", "tokens[-n_kept:]", "with tokens[-0:]"),
        (CUT, "if second is None:", "if not second:", "an empty partner"),
        (CUT, "if excess >= (", "if excess > (", "where nothing of that text would be left"),
    ],
    "attention": [
        (
            MODEL,
            "return F.dropout(weights, dropout_p) @ v, weights",
            "return F.dropout(weights @ v, dropout_p), weights",
            "It belongs on the weights",
        ),
        (
            MODEL,
            "self.dropout if self.training else 0.0",
            "1 - self.dropout if self.training else 0.0",
            "with the share attention_dropout",
        ),
        (MODEL, " / math.sqrt(q.shape[-1])", "", "when the scores are not divided by sqrt(K)"),
        (MODEL, "masked_fill(~keep", "masked_fill(keep", "when the mask is turned round"),
        (
            MODEL,
            "context = context.transpose(1, 2).flatten(2)",
            "context = context.reshape(len(context), -1, self.n_heads * self.head_dim)",
            "without moving their axis back",
        ),
        (MODEL, "torch.finfo(scores.dtype).min", "-math.inf", "the weights hold NaN"),
        (MODEL, "self.dropout if self.training else 0.0", "self.dropout", "in eval mode differ"),
    ],
    "block": [
        (
            MODEL,
            "self.ffn(hidden_states) + hidden_states)",
            "self.ffn(hidden_states))",
            "without the second residual sum",
        ),
        (
            MODEL,
            "self.activation(self.lin1(hidden_states))",
            'F.gelu(self.lin1(hidden_states), approximate="tanh")',
            "with GELU's tanh curve",
        ),
        (MODEL, "[: input_ids.shape[1]]", "[1 : input_ids.shape[1] + 1]", "counted from 1"),
        (MODEL, "return self.dropout(self.LayerNorm(", "return (self.LayerNorm(", "dropout is not"),
    ],
    "masked-lm": [
        (
            HEADS,
            "self.activation = ACTIVATIONS[config.activation]",
            "self.activation = F.gelu",
            "with activation='relu' in the config",
        ),
        (
            HEADS,
            "self.vocab_projector.weight = self.distilbert.embeddings.word_embeddings.weight",
            "self.vocab_projector.weight.data.copy_(self.distilbert.embeddings.word_embeddings.weight)",
            "They hold equal numbers, but the first training step parts them.",
        ),
        (
            HEADS,
            "self.vocab_projector(self.vocab_layer_norm(hidden))",
            "self.vocab_projector(hidden)",
            "without the norm",
        ),
        (
            HEADS,
            "        logits = self.head(encoded.last_hidden_state)  # (B, S, V)\n"
            "        loss = None if labels is None else cross_entropy(logits, labels)",
            "        logits = self.head(encoded.last_hidden_state)  # (B, S, V)\n"
            "        loss = None if labels is None else cross_entropy(logits, labels.clamp(min=0))",
            "when -100 counts as word 0",
        ),
    ],
    "fold-bert": [
        (BERT, "token_types[0].float()", "token_types[1].float()", "when row 1 is taken"),
        (
            BERT,
            "tensors[POSITIONS].float() + token_types[0].float()",
            "(tensors[POSITIONS] + token_types[0]).float()",
            "when the sum is rounded to torch.bfloat16",
        ),
        (
            BERT,
            'name.replace(f".{theirs}.", f".{ours}.")',
            "name.replace(theirs, ours)",
            "when less than a whole part",
        ),
        (BERT, "!= needed:", "== needed:", "should be refused"),
    ],
    "strict-loading": [
        (
            "minibert/header.py",
            "[name for name in wanted if in_encoder(name)]",
            "list(wanted)",
            "an encoder's file should load into a classifier",
        ),
        (
            "minibert/header.py",
            "if entry.dtype not in FLOATS:",
            'if entry.dtype.startswith("I"):',
            "torch.uint8",
        ),
        ("minibert/header.py", "    if missing:\n", "    if len(missing) > 1:\n", "a file without"),
        (
            "minibert/header.py",
            "if entry.shape != shape:",
            "if len(entry.shape) != len(shape) or max(entry.shape) > max(shape):",
            "turned on its side should be refused",
        ),
        ("minibert/header.py", "    if unexpected:\n", "    if False:\n", "three layers"),
        (
            "minibert/checkpoint.py",
            " and not torch.isfinite(tensor).all():",
            ":",
            "their sum overflows",
        ),
    ],
    "int8": [
        (INT8, "weight.abs().amax(dim=1)", "weight.abs().amax().expand(len(weight))", "all rows"),
        (INT8, "(weight / scale[:, None]).round()", "(weight / scale[:, None])", "cut off, not"),
        (INT8, "(high - low) / 255", "(high - low) / 256", "from 0 to 255 there are 255 steps"),
        (INT8, "inputs.integers.int() - inputs.zero.int()", "inputs.integers.int()", "away `zero`"),
        (INT8, "(0, 255).to(torch.uint8)", "(0).to(torch.uint8)", "wrap round"),
    ],
    "batches": [
        (
            "train/batches.py",
            "    steps = [steps[i] for i in random.permutation(len(steps))]\n",
            "",
            "The steps run from short to long texts",
        ),
        (
            "train/batches.py",
            '        window = window[np.argsort(lengths[window], kind="stable")]\n',
            "",
            "of the computed tokens are padding",
        ),
        (
            "train/batches.py",
            "default_rng([seed, epoch])",
            "default_rng(seed + epoch)",
            "do not add the two",
        ),
        (
            "train/batches.py",
            "torch.where(mask, self.ids[place].long(), self.pad_id)",
            "self.ids[place].long()",
            "the ids of rows 2 and 0",
        ),
    ],
    "cross-entropy": [
        (
            "cross_entropy.py",
            "return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()",
            "return torch.nn.LogSoftmax(dim=-1)(logits)",
            "uses LogSoftmax",
        ),
        (
            "cross_entropy.py",
            "logits - logits.max(dim=-1, keepdim=True).values",
            "logits",
            "exp(1000) is infinite",
        ),
        ("cross_entropy.py", "counts[:, None] / counts.sum()", "counts[:, None]", "not divided by"),
        ("cross_entropy.py", "return -rows[", "return rows[", "without the minus"),
        (
            "cross_entropy.py",
            "return result * counts[:, None] / counts.sum()",
            "return torch.autograd.grad(loss(logits, labels), logits)[0]",
            "uses grad",
        ),
    ],
    "adamw": [
        (
            "adamw.py",
            "square = rates.beta2 * state.square + (1 - rates.beta2) * gradient**2",
            "square = state.square.mul_(rates.beta2).add_((1 - rates.beta2) * gradient**2)",
            "the state's square was changed in place",
        ),
        (
            "adamw.py",
            "weight = weight * (1 - rates.lr * rates.weight_decay)",
            "gradient = gradient + rates.weight_decay * weight",
            "when the decay is added to the gradient (Adam with L2)",
        ),
        ("adamw.py", "mean_now = mean / (1 - rates.beta1**step)", "mean_now = mean", "of the mean"),
        (
            "adamw.py",
            "(square_now.sqrt() + rates.eps)",
            "(square_now + rates.eps).sqrt()",
            "when eps stands under the root",
        ),
        (
            "adamw.py",
            "mean = rates.beta1 * state.mean +",
            "mean = state.mean.mul_(rates.beta1) +",
            "the state's mean was changed in place",
        ),
    ],
    "loss-scaling": [
        (OPTIM, ".float() / self.scale.value\n", ".float()\n", "when the scale is not divided out"),
        (OPTIM, "add_(1).mul_(1 - overflow)", "add_(1 - overflow)", "not in a row"),
        (OPTIM, "self.done.add_(1 - overflow)", "self.done.add_(1)", "The schedule waits, too"),
        (
            OPTIM,
            "* ((norm + 1e-6) / MAX_GRAD_NORM).clamp(min=1.0)",
            "* ((norm + 1e-6) / MAX_GRAD_NORM)",
            "when small gradients are stretched",
        ),
        (
            OPTIM,
            "(~torch.isfinite(norm)).float()",
            "(norm * 0 if norm < 9 else norm / norm)",
            "reads",
        ),
    ],
    "accumulation": [
        (
            STEP,
            "float(w.sum() / weights.sum() * processes.world)",
            "processes.world / len(mine)",
            "when all passes weigh the same",
        ),
        (STEP, "(part * update.scale.value)", "(part)", "call backward on loss x scale"),
        (LOOP, "        seed_step(job.steps.seed, step, job.processes.rank)\n", "", "gone on with"),
        (LOOP, "    job.model.train()\n", "", "eval mode"),
    ],
    "resume": [
        (OPTIM, "tensor.copy_(tensors[name])  #", "tensor.add_(0)  #", "did not come back"),
        (
            STEP,
            "int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])",
            "seed + step + rank",
            "do not add the two",
        ),
        (
            SAVED,
            "        shutil.rmtree(beside, ignore_errors=True)\n",
            "        pass\n",
            "when what was begun is not removed",
        ),
        (SAVED, "        snapshot.update.load_tensors", "        snapshot.update.tensors", "clock"),
    ],
    "schedule": [
        (OPTIM, "/ scale).rsqrt()", "/ scale).reciprocal()", "when the root is missing"),
        (OPTIM, "(done + scale - warmup_steps)", "float(done + scale - warmup_steps)", "read"),
        ("train/options.py", ', "inverse_sqrt")', ")", "--schedule inverse_sqrt is refused"),
    ],
    "data-format": [
        (
            "train/data/lines.py",
            "yield [text, label.removeprefix(mark)]",
            "yield [text.strip(), label.removeprefix(mark)]",
            "when the text is stripped",
        ),
        ("train/data/lines.py", "if text.startswith(mark):", "if False:", "two labels"),
        (
            "train/data/lines.py",
            "yield [text, label.removeprefix(mark)]",
            "yield [label.removeprefix(mark), text]",
            "when label and text change places",
        ),
        (
            "train/data/lines.py",
            "without_blank_end(path, lines):\n            label,",
            "lines:\n            label,",
            "A file that is right is refused: train.fasttext, line 2",
        ),
    ],
    "token-head": [
        (
            HEADS,
            "self.dropout(encoded.last_hidden_state))  # (B, S, C)",
            "self.dropout(encoded.last_hidden_state.relu()))  # (B, S, C)",
            "with an activation before the classifier",
        ),
        (
            HEADS,
            "self.dropout = nn.Dropout(config.dropout)\n        self.classifier",
            "self.dropout = nn.Dropout(config.seq_classif_dropout)\n        self.classifier",
            "though config.dropout is 0.5",
        ),
        (
            "minibert/__init__.py",
            "    DistilBertForTokenClassification,\n    load",
            "    load",
            "`from minibert import DistilBertForTokenClassification` fails",
        ),
    ],
}
