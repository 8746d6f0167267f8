// commands live in commands/
