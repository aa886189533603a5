decoder = codecs.getincrementaldecoder("utf-8")("replace")  # one for the whole stream
for chunk in chunks:
    text += decoder.decode(chunk)
