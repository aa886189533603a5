export NO_PROXY=127.0.0.1,localhost
