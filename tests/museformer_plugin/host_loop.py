"""Writing as its definition has it: the host knows every token before it goes on, and asks the grammar itself.

A plain loop in Python over ``GrammarState``, with ``torch.multinomial``, for what is written in tensors on the device.
Requests are kept to by lists of what each bar may hold; notes that are given are not known here.
"""

from collections import deque

import numpy as np
import torch

from data_prep.tokens.grammar import GrammarState
from museformer_plugin.fc_attention import NO_BAR
from museformer_plugin.piece_rules import TOKENS_TO_CLOSE
from museformer_plugin.steering.bars_to_write import allowed_tokens
from museformer_plugin.steering.stream_orders import ENTERS


class _Piece:
    def __init__(self, decoder, example, prompt, request):
        self.dictionary, self.families = decoder.dictionary, decoder.families
        self.example, self.tokens, self.scores, self.request = example, prompt.tolist()[1:], [], request
        self.state = GrammarState(self.families.representation)
        self.bars = 0  # of the request, that are written
        self.pitches = set()  # of the instrument under way
        for token in self.tokens:
            self._advance(token)

    def append(self, token, score):
        self.tokens.append(token)
        self.scores.append(score)
        self.bars += token == self.families.end_of_bar
        if token != self.dictionary.eos():
            self._advance(token)

    def _advance(self, token):
        self.state.advance(self.dictionary[token])
        self.latest = self.dictionary[token]

    def ended(self, max_len):
        return self.tokens[-1:] == [self.dictionary.eos()] or len(self.tokens) >= max_len

    def leaning(self, logits, repeat_temperature):
        """[V], colder in a bar that repeats one, raised for an instrument that is to enter in it and has not."""
        request = self.request
        limits = request.limits[self.bars] if request is not None and self.bars < len(request.written) else None
        if limits is None:
            return logits
        if request.guide.repeats[len(request.given) + self.bars] != NO_BAR:
            logits = logits / repeat_temperature
        ends = [n + 1 for n, other in enumerate(self.tokens) if other == self.families.end_of_bar]
        bar_before, bar = [0, 0, *ends][-2:]
        raised = logits.clone()
        if limits.enters is not None:
            token = self._instrument(limits.enters)
            raised[token] += ENTERS * (token not in self.tokens[bar:])
        if limits.goes_on and self.bars:
            (token,) = map(self._instrument, self.families.melody_ranks)
            raised[token] += ENTERS * (token not in self.tokens[bar_before:])
        return raised

    def _instrument(self, rank):
        return self.dictionary.index(f"i-{self.families.representation.instruments[rank]}")

    def allowed(self, min_len, max_len):
        """bool [V], by the words that the grammar names."""
        families, eos, end_of_bar = self.families, self.dictionary.eos(), self.families.end_of_bar
        allowed = np.zeros(len(self.dictionary), dtype=bool)
        instruments = families.representation.instruments
        for letter, (low, high) in self.state.bounds().items():
            for id_ in range(low, high + 1):
                word = f"{letter}-{instruments[id_] if letter == 'i' else id_}"
                if word != "s-126":  # a bar of 1/64 is shorter than a position
                    allowed[self.dictionary.index(word)] = True
        if self.state.family == "v":  # the note just written may not come again
            falling = [n for n, token in enumerate(self.tokens) if self.dictionary[token].startswith("p-")]
            allowed[self.tokens[falling[-1]]] = False
        before = allowed.copy()
        length = len(self.tokens)
        if self.state.may_end:
            before[eos] = True
            allowed[eos] = length > 0 and length + 1 >= min_len
        if length + TOKENS_TO_CLOSE >= max_len:
            if "b" in self.state.bounds():
                allowed = _only(end_of_bar, allowed)
            if self.state.may_end and length and (length + 1 >= min_len or length + 3 > max_len):
                allowed = _only(eos, allowed)
        return allowed if self.request is None else self._asked(before, allowed, max_len)

    def _asked(self, by_grammar, allowed, max_len):
        request, eos, end_of_bar = self.request, self.dictionary.eos(), self.families.end_of_bar
        if self.bars == len(request.written):
            return _only(eos, allowed)
        limits = allowed_tokens(request.limits[self.bars], self.families)
        limits[eos] = request.open_ended
        if request.open_ended:
            return allowed & limits
        allowed = by_grammar & limits
        left = sum(request.least_tokens()[self.bars + 1 :])
        if len(self.tokens) + left + TOKENS_TO_CLOSE >= max_len and allowed[end_of_bar]:
            return _only(end_of_bar, allowed)
        return allowed


def _only(token, like):
    only = np.zeros_like(like)
    only[token] = True
    return only


def _choose(logits, allowed, options, random):
    log_probs = torch.log_softmax(logits.float() / options.temperature, dim=-1)
    masked = log_probs.masked_fill(~torch.from_numpy(np.stack(allowed)), float("-inf"))
    if not options.sampling:
        tokens = masked.argmax(dim=-1)
        return tokens, log_probs.gather(1, tokens[:, None])[:, 0]
    if options.topk > 0:
        values, entries = masked.topk(options.topk, dim=-1)
    elif options.topp > 0:
        values, entries = masked.sort(dim=-1, descending=True)
        probs = values.softmax(dim=-1)
        values[probs.cumsum(dim=-1) - probs >= options.topp] = float("-inf")
    else:
        values, entries = masked, torch.arange(masked.shape[1]).expand_as(masked)
    if options.reshape is not None:
        left = torch.full_like(masked, float("-inf")).scatter(1, entries, values)
        values = options.reshape(left).gather(1, entries)
    tokens = entries.gather(1, torch.multinomial(values.softmax(dim=-1), 1, generator=random))[:, 0]
    return tokens, log_probs.gather(1, tokens[:, None])[:, 0]


@torch.no_grad()
def write_by_host(decoder, prompts, options, min_len, max_len, pieces_per_prompt, at_once, seed, requests=None):
    """Tokens and scores of every piece, in the order of their prompts; these int64 [n], begin token first."""
    random = torch.Generator().manual_seed(seed)
    asked = requests or [None] * len(prompts)
    pieces = [
        _Piece(decoder, example, prompt, asked[example])
        for example, prompt in enumerate(prompts)
        for _ in range(pieces_per_prompt)
    ]

    def read(examples):
        guides = [requests[example].guide for example in examples] if requests else None
        logits, streams = decoder.read_prompts([prompts[example] for example in examples], guides)
        return torch.stack([rows[-1] for rows in logits]), streams

    def choose(of_pieces, logits):
        logits = torch.stack([piece.leaning(row, options.repeat_temperature) for piece, row in zip(of_pieces, logits)])
        tokens, scores = _choose(logits, [piece.allowed(min_len, max_len) for piece in of_pieces], options, random)
        for piece, token, score in zip(of_pieces, tokens.tolist(), scores.tolist()):
            piece.append(token, score)

    waiting = deque(pieces)
    writing = [waiting.popleft() for _ in range(min(at_once or len(pieces), len(pieces)))]
    logits, streams = read([piece.example for piece in writing])
    while writing:
        choose(writing, logits)
        for n, piece in enumerate(writing):
            while waiting and piece.ended(max_len):
                piece = writing[n] = waiting.popleft()
                first, entering = read([piece.example])
                streams.put(n, entering)
                choose([piece], first)
        kept = [n for n, piece in enumerate(writing) if not piece.ended(max_len)]
        if kept:
            streams.select(kept)
            logits = decoder.step(torch.tensor([writing[n].tokens[-1] for n in kept]), streams)
        writing = [writing[n] for n in kept]
    return [(piece.tokens, piece.scores) for piece in pieces]
