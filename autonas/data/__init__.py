"""From files to memory-mapped tokens: sources, filters, duplicates, split, tokenizer, data set, training windows. No torch."""
