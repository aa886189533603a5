const value = line.slice(line.indexOf(':') + 1).replace(/^ /, ''); // one space, and no trim()
