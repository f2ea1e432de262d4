"""What each feature adds to the score of a span: of the line it begins at, of the span, and of its length.

Fitted by maximum likelihood (with 0.005 times the sum of squares against large ones) to what two people heard in the
POP909 songs with odd numbers, as docs/form.md tells.
"""

BAR_LINES = {
    "rest -1": 1.12,
    "rest -0.5": 0.86,
    "rest -0.25": 1.01,
    "rest 0": 0.40,
    "rest 0.01": 1.40,
    "rest 0.27": 0.09,
    "interval -1": -1.54,
    "interval -0.5": -0.02,
    "interval -0.25": 0.27,
    "interval 0": 0.60,
    "interval 0.01": -0.02,
    "interval 0.27": 0.30,
    "held": -0.61,
    "sounds": 0.98,
    "pauses": 2.77,
    "enters": 0.27,
    "leaves": 0.47,
    "busier": 0.85,
    "calmer": -1.83,
    "starts 2": 0.99,
    "stops 2": 0.39,
    "starts 2 of three": 0.64,
    "stops 2 of three": -0.66,
    "starts 4": 1.84,
    "stops 4": 1.50,
    "starts 4 of three": 0.02,
    "stops 4 of three": -0.19,
    "starts 8": 1.15,
    "stops 8": 1.48,
    "starts 8 of three": -0.69,
    "stops 8 of three": -0.30,
    "novelty 4 of all": 0.97,
    "novelty 2": -0.38,
    "novelty 4": 0.33,
    "novelty 8": -1.02,
    "texture": -0.03,
}
SPANS = {
    "best": -3.27,
    "best by bar": 0.17,
    "good by bar": 0.19,
    "repeats before": 1.57,
    "repeated after": 1.83,
    "no melody": 0.13,
    "no melody by bar": 0.36,
    "first": -0.00,
    "last": -0.00,
    "first without melody": -1.72,
    "last without melody": 0.62,
}
LENGTHS = (  # of 1, 2 ... bars
    -4.41, -4.03, -2.75, -0.79, -1.53, -1.86, -1.59, 0.70, 0.25, -0.03,
    -0.32, -0.07, -0.10, 0.18, -0.05, 1.98, 0.06, 0.69, 0.16, 0.09,
)  # fmt: skip
