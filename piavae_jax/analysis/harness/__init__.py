"""What runs an analysis: its material, its folder, its command."""
