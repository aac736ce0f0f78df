"""Networks from files, without their code: a layer that runs a program."""
