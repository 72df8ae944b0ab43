"""Where queries come from: embedded generators, public sets, local files, recorded responses."""
