# The stage graph: from ratings to the table of HR@10 / NDCG@10.
