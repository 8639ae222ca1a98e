"""What the solver needs to know of F, the average Taylor loss of one part over recorded rounds."""

import abc


class Objective(abc.ABC):
    """`F(V) = (1/N) sum over n <= N of L_s^n(V)`, convex in one part's weights V; abstract.

    Where rounds are a sample, the sum is over those of the fit sample, each times the rounds that
    it stands for. Points and vectors are float64 NumPy vectors of the part's weights (see
    `keras_taylor.weights.parts.Part`). Each method but `over_first` takes one pass over the
    rounds. An objective is immutable: `over_first` returns another one.

    Attributes:
        part: The `Part` s.
        horizon: N, the number of rounds that F is over, from the first on.
    """

    @abc.abstractmethod
    def over_first(self, horizon):
        """Returns the same objective over the first `horizon` rounds."""

    @abc.abstractmethod
    def value_and_gradient(self, point):
        """Returns F, in units of the loss, and its gradient at a point."""

    @abc.abstractmethod
    def losses(self, point, check=False):
        """Returns the Taylor loss of each round at a point, `(rounds,)`.

        Args:
            point: The point.
            check: Whether the rounds are those of the check sample instead of those of F.
        """

    @abc.abstractmethod
    def minimize(self, budget, center, radii, tolerance, warm_start):
        """Minimises F over balls about the same centre.

        Args:
            budget: The `keras_taylor.optimum.passes.Budget` that passes are taken from.
            center: The centre c, a point.
            radii: The radii R.
            tolerance: The gap to reach, relative to the value or
                `keras_taylor.optimum.tolerance.Absolute`.
            warm_start: A point to start from.

        Returns:
            A `keras_taylor.optimum.ball.Interval` for each radius, valid whether the tolerance is
            reached or the budget is used up.
        """


class SmoothObjective(Objective):
    """An objective with second derivatives, which Newton steps minimise; abstract.

    Attributes:
        preconditioner: A function from a residual and a positive shift to a direction, roughly
            `(curvature + shift)^-1 residual`, or `None` where there is none (yet).
        can_prepare: Whether `prepare` can make a preconditioner.
    """

    preconditioner = None
    can_prepare = False

    @abc.abstractmethod
    def curvature_product(self, point, vector):
        """Returns the Hessian of F at a point times a vector."""

    def sharpened(self):
        """Returns the objective with more precise curvature products; `None` if there is none."""
        return

    def prepare(self):
        """Makes the preconditioner, by one pass, for solves that take many of them."""
        raise NotImplementedError(f"{type(self).__name__} has no preconditioner")


class OutputObjective(SmoothObjective):
    """An objective that is known as a function of few outputs, `F(V) = f(T(V))`; abstract.

    The outputs T of all examples, `(examples, outputs)`, are affine in the weights:
    `T(V) = T(0) + J V`. A product with J and one with its transpose are one pass together; what is
    a function of the outputs takes none. All arrays are float64.
    """

    @abc.abstractmethod
    def outputs(self, point):
        """Returns T at a point."""

    @abc.abstractmethod
    def moved(self, vector):
        """Returns J times a vector, like T."""

    @abc.abstractmethod
    def pulled(self, slopes):
        """Returns the transpose of J times an array like T, a vector."""

    @abc.abstractmethod
    def value_and_slopes(self, outputs):
        """Returns f, which is F, and its gradient in T, like T."""

    @abc.abstractmethod
    def curvature(self, outputs):
        """Returns the Hessian of f by example, `(examples, outputs, outputs)`."""
