"""What studies learn from: scenes, clips, points, sums and stacked digits, which programs draw without end and whose
answers are exact.
"""
