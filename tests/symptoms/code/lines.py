lines = re.split("\r\n?|\n", text)  # splitlines() knows eight more line ends
