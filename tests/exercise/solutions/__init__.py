"""Solutions of the exercises that are not cut out of the project itself."""
