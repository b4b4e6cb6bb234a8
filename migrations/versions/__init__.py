"""Forward only. Rows of history keep the columns that they were digested with; a new column is nullable."""
