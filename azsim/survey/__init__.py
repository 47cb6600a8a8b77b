"""How every codec does on the tensors of a file: what ``azsim codecs`` shows."""
