"""What becomes of labels on their way through PaddleOCR's encoders and decoders."""

from __future__ import annotations

import numpy as np
import pytest

from ocrslim.errors import ConfigError
from ocrslim.tasks.recognition.text_code import TextCode, TextDecoder, TextEncoder, encoder_entry

PAIRS = [
    ("CTCLabelEncode", "CTCLabelDecode", "label"),
    ("MultiLabelEncode", "CTCLabelDecode", "label_ctc"),
    ("AttnLabelEncode", "AttnLabelDecode", "label"),
    ("SARLabelEncode", "SARLabelDecode", "label"),
    ("NRTRLabelEncode", "NRTRLabelDecode", "label"),
    ("ViTSTRLabelEncode", "ViTSTRLabelDecode", "label"),
    ("ABINetLabelEncode", "ABINetLabelDecode", "label"),
    ("SPINLabelEncode", "SPINLabelDecode", "label"),
    ("PRENLabelEncode", "PRENLabelDecode", "label"),
    ("SRNLabelEncode", "SRNLabelDecode", "label"),
    ("SEEDLabelEncode", "SEEDLabelDecode", "label"),
    ("RFLLabelEncode", "RFLLabelDecode", "label"),
    ("SATRNLabelEncode", "SATRNLabelDecode", "label"),
]


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "letters.txt"
    file.write_text("\n".join("abcdefgXYZ0123") + "\n")
    return {"character_dict_path": str(file), "use_space_char": True, "max_text_length": 12}


def code(settings, encoder, decoder, key):
    return TextCode(TextEncoder((encoder, {}), settings), TextDecoder({"name": decoder}, settings), key)


@pytest.mark.parametrize(("encoder", "decoder", "key"), PAIRS)
def test_a_text_comes_back_without_what_the_dictionary_lacks(settings, encoder, decoder, key):
    through = code(settings, encoder, decoder, key)
    in_small_letters = encoder == "SPINLabelEncode"
    assert through("abc X") == ("abc " if in_small_letters else "abc X")
    assert through("a?b€c") == ("a<UKN>b<UKN>c" if encoder == "SATRNLabelEncode" else "abc")


@pytest.mark.parametrize(("encoder", "decoder", "key"), PAIRS)
def test_so_does_a_text_that_is_too_long_to_be_learned(settings, encoder, decoder, key):
    text = "abc" * 20
    assert code(settings, encoder, decoder, key)(text) == text
    cuts_it = encoder == "SATRNLabelEncode"
    assert TextEncoder((encoder, {}), settings).takes(text) == cuts_it


def test_a_text_of_nothing_known_is_no_text(settings):
    assert code(settings, *PAIRS[0])("??") == "" and not TextEncoder(("CTCLabelEncode", {}), settings).takes("??")


def test_what_the_longest_text_is_depends_on_the_encoder(settings):
    """Begin and end of a sequence take room: PaddleOCR's attention encoders give up earlier than CTC's."""
    longest = {
        name: max(n for n in range(1, 13) if TextEncoder((name, {}), settings).takes("a" * n))
        for name in ("CTCLabelEncode", "AttnLabelEncode", "NRTRLabelEncode", "MultiLabelEncode")
    }
    expected = {"CTCLabelEncode": 12, "AttnLabelEncode": 11, "NRTRLabelEncode": 10, "MultiLabelEncode": 10}
    assert longest == expected


def test_an_output_becomes_text_and_confidence(settings):
    decoder = TextDecoder({"name": "CTCLabelDecode"}, settings)
    output = np.zeros((1, 6, decoder.classes), np.float32)
    for step, (letter, sure) in enumerate([(1, 0.9), (1, 0.8), (0, 1.0), (1, 0.7), (2, 0.5), (0, 1.0)]):
        output[0, step, letter] = sure
    text, score = decoder(output)
    assert text == "aab" and score == pytest.approx((0.9 + 0.7 + 0.5) / 3)
    nothing = np.zeros((1, 6, decoder.classes), np.float32)
    assert decoder(nothing) == ("", 0.0)


def test_attention_that_reads_nothing_has_no_confidence(settings):
    decoder = TextDecoder({"name": "AttnLabelDecode"}, settings)
    output = np.zeros((1, 4, decoder.classes), np.float32)
    output[..., -1] = 1
    with np.errstate(all="ignore"):
        assert decoder(output) == ("", 0.0)


def test_encoder_and_decoder_that_do_not_belong_together_are_named(settings):
    with pytest.raises(ConfigError, match="give no 'label_ctc', the first that KeepKeys names"):
        code(settings, "CTCLabelEncode", "CTCLabelDecode", "label_ctc")("abc")
    with pytest.raises(ValueError, match="decodes no texts"):
        TextDecoder({"name": "DBPostProcess"}, settings)


def test_the_encoder_is_found_among_transforms():
    transforms = [{"DecodeImage": None}, {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}}, {"KeepKeys": None}]
    assert encoder_entry(transforms) == ("MultiLabelEncode", {"gtc_encode": "NRTRLabelEncode"})
    assert encoder_entry(transforms[:1]) is None
