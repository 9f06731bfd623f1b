"""The face: what a person sees and edits. Imports training and executors."""
