"""Functions that run side by side and have their questions answered together."""

import queue
from concurrent import futures


class Rendezvous:
    """Runs functions in threads; once all of them wait for an answer, one call answers all.

    Args:
        serve: Function from a list of questions to a list of answers. It runs in the thread that
            calls `run`, where a keyboard interrupt arrives.
    """

    def __init__(self, serve):
        self._serve, self._inbox = serve, queue.SimpleQueue()

    def ask(self, question):
        """Returns the answer to a question, in one of the functions that run.

        Raises:
            BaseException: what `serve` raised, a keyboard interrupt too.
        """
        mailbox = queue.SimpleQueue()
        self._inbox.put((mailbox, question))
        answer = mailbox.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def run(self, functions, on_end=lambda: None):
        """Returns the results of functions without arguments, in their order.

        Args:
            functions: The functions.
            on_end: Called, in this thread, whenever one of them has ended.
        """
        with futures.ThreadPoolExecutor(max(1, len(functions))) as pool:
            running = [pool.submit(self._ended, function) for function in functions]
            left, waiting, interrupt = len(functions), [], None
            while left:
                try:
                    letter = self._inbox.get()
                    if letter is None:
                        left -= 1
                        on_end()
                    else:
                        waiting.append(letter)
                except KeyboardInterrupt as error:
                    interrupt = error
                if waiting and len(waiting) == left:
                    self._answer(waiting, interrupt)
                    waiting, interrupt = [], None
        return [one.result() for one in running]

    def _ended(self, function):
        try:
            return function()
        finally:
            self._inbox.put(None)

    def _answer(self, waiting, interrupt):
        mailboxes, questions = zip(*waiting, strict=True)
        try:
            answers = [interrupt] * len(questions) if interrupt else self._serve(questions)
        except BaseException as error:
            answers = [error] * len(questions)
        for mailbox, answer in zip(mailboxes, answers, strict=True):
            mailbox.put(answer)
