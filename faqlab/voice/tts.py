"""Text to speech without a network: hibari."""

import asyncio
from functools import cache, lru_cache
from typing import Any, Self

import numpy as np
from hibari import Hibari
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, APIError, tts, utils

from faqlab.text import has_words
from faqlab.voice.spoken_text import g2p, sentences, speakable

SAMPLE_RATE = 24_000  # Hz
AUDIBLE, FAINT = 0.01, 0.002  # samples with a lower amplitude (full scale is 1) are silence; or a soft consonant
EDGE_S = 0.02  # the silence kept after the speech; before it there's a quarter of that, as callers wait for it


class Synthesizer:
    """hibari's voice "heart". Its methods may be called from several threads at once."""

    def __init__(self) -> None:
        self._hibari = Hibari("heart", g2p=g2p())

    @classmethod
    @cache
    def shared(cls) -> Self:
        """Return the process's only instance, loaded at the first call."""
        return cls()

    # Cached, so that a sentence that was synthesized in advance is there at once when it's needed.
    @lru_cache(maxsize=64)  # noqa: B019 (which keeps the instance, but there is one per process)
    def speak(self, sentence: str, speed: float = 1.0) -> np.ndarray:
        """Return the speech for *sentence*, trimmed: mono float32, 24 kHz, read-only; empty if it has no words."""
        audio = self._hibari(speakable(sentence), speed=speed, seed=0)
        audible = np.flatnonzero(np.abs(audio) > AUDIBLE)
        if not has_words(sentence) or not len(audible):
            return np.zeros(0, np.float32)
        edge = int(EDGE_S * SAMPLE_RATE)
        start = int(np.argmax(np.abs(audio) > FAINT)) - edge // 4
        audio = audio[max(0, start) : audible[-1] + edge].copy()
        audio.flags.writeable = False
        return audio

    def speak_all(self, text: str, speed: float = 1.0) -> np.ndarray:
        """Return the speech for *text*, with a short pause between sentences; see `speak`."""
        parts = [part for sentence in sentences(text) for part in (_PAUSE, self.speak(sentence, speed))]
        return np.concatenate(parts[1:]) if parts else np.zeros(0, np.float32)


class HibariTTS(tts.TTS):
    """`Synthesizer` for livekit-agents, a sentence at a time. (`tts.StreamAdapter` couldn't pause between them.)"""

    def __init__(self, synthesizer: Synthesizer) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=SAMPLE_RATE, num_channels=1)
        self.synthesizer, self.speed = synthesizer, 1.0

    def synthesize(self, *args: Any, **options: Any) -> tts.ChunkedStream:
        raise NotImplementedError("this TTS only streams: use stream()")

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> tts.SynthesizeStream:
        return _SentenceStream(tts=self, conn_options=conn_options)


class _SentenceStream(tts.SynthesizeStream):
    _tts: HibariTTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=SAMPLE_RATE, num_channels=1, mime_type="audio/pcm", stream=True
        )
        output_emitter.start_segment(segment_id=utils.shortuuid())
        pause = np.zeros(0, np.float32)
        try:
            # All of it at once, as the offline language model and `say` send a reply in one piece.
            text = "".join([part async for part in self._input_ch if isinstance(part, str)])
            for sentence in sentences(text):
                self._mark_started()
                audio = await asyncio.to_thread(self._tts.synthesizer.speak, sentence, self._tts.speed)
                if len(audio):
                    output_emitter.push(to_int16(np.concatenate([pause, audio])).tobytes())
                    pause = _PAUSE
        except Exception as error:  # livekit-agents reports no other kind
            raise APIError(f"speech synthesis failed: {error}", retryable=False) from error
        # Without a sample, as for "…", livekit-agents would take this for a failure and try again.
        output_emitter.push(bytes(2 * SAMPLE_RATE // 100))


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Return float audio from -1 to 1 as 16-bit samples."""
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16)


_PAUSE = np.zeros(int(0.3 * SAMPLE_RATE), np.float32)
