"""Which loss a model trains on."""

from keras.src.trainers.compile_utils import CompileLoss

from keras_taylor.taylor.outputs import OutputLoss
from keras_taylor.taylor.own_losses import OwnLoss, OwnOutputLoss, has_own


def training_loss(model, loss=None):
    """Returns the loss of a model: as Keras compiles it, or an `OwnLoss`.

    Args:
        model: A model.
        loss: A Keras loss, what `compile` takes as loss, or what this function returned; `None` for
            the loss that the model trains on.

    Raises:
        ValueError: if there is no loss.
    """
    if isinstance(loss, (CompileLoss, OwnLoss)):
        return loss
    if loss is not None:
        return CompileLoss(loss, output_names=getattr(model, "output_names", None))
    if not model.compiled:
        raise ValueError(
            f"model {model.name!r} is not compiled and no loss was given: compile the model "
            "or pass `loss`"
        )
    owner = loss_owner(model)
    if owner is not None:
        return OwnLoss(owner, model._compile_loss)
    if model._compile_loss is None:
        raise ValueError(_no_loss_message(model))
    return model._compile_loss


def _no_loss_message(model):
    if has_own(model, "train_step"):
        return (
            f"model {model.name!r} has a train_step of its own and was compiled without a loss, so "
            "that what it minimises is not known as a function of its outputs: compile it with "
            "that loss, if it is one of the outputs alone"
        )
    return (
        f"model {model.name!r} was compiled without a loss: compile it with one, or pass `loss`. "
        "What layers give to add_loss is counted beside a loss of the outputs, in which a model is "
        "expanded; alone it is no function of them"
    )


def loss_owner(model):
    """Returns the model whose own `compute_loss` a model trains by, or `None` for Keras'."""
    # A TaylorModel of the layers of another model trains by the method of that one.
    owner = getattr(model, "_model_of_loss", None) or model
    return owner if has_own(owner, "compute_loss") else None


def output_loss(batch, outputs, penalties=(), state=None):
    """Returns the `OutputLoss` of one run of a model on a batch.

    Args:
        batch: A `keras_taylor.taylor.batch.Batch`.
        outputs: What the model returned.
        penalties: What the run left: regularisation, `add_loss`.
        state: The other variables' values after the run; by default those before it.
    """
    if not isinstance(batch.compiled, OwnLoss):
        return OutputLoss.of(batch.compiled, batch.y, outputs)
    model, options = batch.model, {"training": batch.training, "penalties": list(penalties)}
    values = list(zip(model.trainable_variables, batch.weights, strict=True))
    state = batch.state if state is None else state
    values += list(zip(model.non_trainable_variables, state or [], strict=False))
    return OwnOutputLoss.of_run(batch.compiled, batch.x, batch.y, outputs, values=values, **options)
