"""What papers, and we, say that the numbers may contradict: a file each, a row for each claim."""
